use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use daee_client::{PackageError, Parcel};
use daee_signer::publisher::{SIGNATURE_FILE_BYTES_MAX, SignatureFile, signature_path};
use daee_types::{Domain, PackageStatement, Sign};
use serde_json::json;

use crate::{
    access::{Access, unlock},
    arguments::Signing,
    failure::Failure,
    show::Out,
};

/// Adds a signature to those that are there, or begins a file.
pub async fn sign(out: &Out, access: &Access, signing: &Signing) -> Result<u8, Failure> {
    let path = &signing.package.path;
    let parcel = Parcel::read(path)?;
    let manifest = parcel.manifest();
    let statement = PackageStatement {
        agent_id: manifest.agent_id().to_string(),
        manifest_hash: manifest.manifest_hash(),
        cid: parcel.cid().to_bytes(),
    };
    let to = signing.out.clone().unwrap_or_else(|| signature_path(path, path.is_dir()));
    let there = read(&to)?;
    let domain = domain(access, signing, there.as_ref()).await?;
    let mut file = match there {
        None => SignatureFile::new(statement, domain),
        Some(there) => fitting(out, &to, there, statement, &domain)?,
    };

    let wallet = access.signer()?;
    let new = match &signing.rotate_to {
        Some(path) => Some(unlock(path, signing.new_password_file.as_deref())?),
        None => None,
    };
    let signer: &dyn Sign = match &new {
        Some(new) => {
            file.rotate(&*wallet, new).map_err(Failure::no)?;
            new
        }
        None => &*wallet,
    };
    let added = file.sign(signer).map_err(Failure::no)?;
    write(&to, &file.to_json())?;

    let rotation = new.is_some().then(|| file.rotations().last()).flatten();
    let signers = file.signers();
    let shown = json!({
        "file": to.display().to_string(),
        "agent_id": file.statement().agent_id,
        "manifest_hash": file.statement().manifest_hash,
        "cid": parcel.cid().to_string(),
        "chain_id": domain.chain_id,
        "contract": domain.manager,
        "signer": signer.address(),
        "added": added,
        "signers": signers,
        "rotation": rotation,
    });
    out.result(&shown, |text| {
        text.fact("agent_id", &file.statement().agent_id)?;
        text.fact("manifest_hash", file.statement().manifest_hash)?;
        text.fact("cid", parcel.cid())?;
        text.fact("for", format!("chain {}, contract {}", domain.chain_id, domain.manager))?;
        if let Some(rotation) = rotation {
            let text_of = format!("{} in the place of {}", rotation.to, rotation.from);
            text.fact("rotation", format!("{}: {text_of}", rotation.sequence))?;
        }
        for by in &signers {
            let before = *by != signer.address() || !added;
            text.fact("signed by", if before { format!("{by} (before)") } else { by.to_string() })?;
        }
        text.fact("file", to.display())
    })?;
    Ok(0)
}

/// The market that it is signed for: as the command line says, else as those did who signed before, else
/// that of the network.
async fn domain(
    access: &Access,
    signing: &Signing,
    there: Option<&SignatureFile>,
) -> Result<Domain, Failure> {
    match (signing.chain_id, signing.contract, there) {
        (Some(chain_id), Some(manager), _) => Ok(Domain { chain_id, manager }),
        (_, _, Some(there)) => Ok(*there.domain()),
        _ if access.has_network() => Ok(access.market().await?.chain().domain()),
        _ => Err(Failure::usage(
            "for which market? give `--chain-id N --contract ADDRESS` of its manager, or a network \
             with `--network FILE` or `--dir DIR`",
        )),
    }
}

/// A file that is there, made ready for one more signature over this statement.
fn fitting(
    out: &Out,
    path: &Path,
    there: SignatureFile,
    statement: PackageStatement,
    domain: &Domain,
) -> Result<SignatureFile, Failure> {
    let shown = path.display();
    if there.domain() != domain {
        let Domain { chain_id, manager } = there.domain();
        return Err(Failure::usage(&format!(
            "{shown} has signatures for chain {chain_id} and contract {manager}: give each market a \
             file of its own with `--out FILE`"
        )));
    }
    if *there.statement() == statement {
        return Ok(there);
    }
    let (before, count) = (there.statement().agent_id.clone(), there.signatures().len());
    let renewed = there.renewed(statement).ok_or_else(|| {
        Failure::usage(&format!(
            "{shown} has signatures of {before}, another agent: give this one a file of its own \
             with `--out FILE`"
        ))
    })?;
    let noun = if count == 1 { "signature" } else { "signatures" };
    out.progress("renewed", &format!("{count} {noun} of {before} as it was before are taken out"));
    Ok(renewed)
}

fn read(path: &Path) -> Result<Option<SignatureFile>, Failure> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let mut bytes = Vec::new();
    // One more than may be: the reader says that it is too large.
    let limit = SIGNATURE_FILE_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    SignatureFile::read(&bytes).map(Some).map_err(Failure::could_not)
}

/// Whole or not at all: others' signatures are in it.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        // Half of a file is of no use to anybody.
        let _ = fs::remove_file(&new);
        let (path, why) = (path.to_owned(), error.to_string());
        PackageError::Unwritable { path, why }.into()
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let (path, why) = (path.to_owned(), error.to_string());
    PackageError::Unreadable { path, why }.into()
}
