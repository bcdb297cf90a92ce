use std::path::Path;

use daee_signer::{Key, Password};
use daee_types::Sign as _;
use serde_json::json;

use crate::{
    access::{Access, unlock},
    arguments::KeyCommand,
    failure::Failure,
    show::Out,
};

pub fn key(out: &Out, access: &Access, command: &KeyCommand) -> Result<u8, Failure> {
    match command {
        KeyCommand::New { file, from } => new(out, access, file, from.as_deref()),
        KeyCommand::Address => {
            let address = access.signer()?.address();
            out.result(&json!({"address": address}), |text| text.line(&address.to_string()))?;
            Ok(0)
        }
    }
}

fn new(out: &Out, access: &Access, file: &Path, from: Option<&Path>) -> Result<u8, Failure> {
    // Before anybody thinks of a password for nothing; what is written later looks again.
    if file.symlink_metadata().is_ok() {
        let exists = daee_signer::KeyError::Exists(file.to_owned());
        return Err(Failure::could_not(exists));
    }
    let key = match from {
        Some(path) => unlock(path, None)?,
        None => Key::generate(),
    };
    let shown = file.display().to_string();
    let password = Password::choose(access.password_file().as_deref(), &shown);
    let password = password.map_err(Failure::could_not)?;
    key.save_sealed(file, &password).map_err(Failure::could_not)?;
    out.progress("written", &format!("{shown}: who loses it or its password loses the account"));
    let address = key.address();
    out.result(&json!({"address": address, "file": shown}), |text| {
        text.line(&address.to_string())
    })?;
    Ok(0)
}
