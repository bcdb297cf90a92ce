//! Writes a package of a module that may be too large to hold: `package MODULE PACKAGE`.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Write as _},
    path::Path,
};

use daee_artifact::{FileHasher, Hasher, package::Writer};
use daee_manifest::Manifest;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(module), Some(package)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("name a module and a package"));
    };
    let (mut hash, mut layout) = (Hasher::new(), FileHasher::new());
    pieces(module.as_ref(), |piece| {
        hash.update(piece);
        layout.update(piece);
    })?;
    let yaml = format!(
        "agent_id: example.package@v1.0.0\nresources: {{cpu: 250m, memory: 64MiB}}\n\
         entry_point: module.wasm\nartifact_hash: \"{}\"\n",
        hash.finish()
    );
    let manifest = Manifest::read(yaml.as_bytes()).expect("this is a manifest");
    let layout = layout.finish().map_err(io::Error::other)?;
    let body = manifest.canonical_body();
    let mut writer =
        Writer::new(layout, body.as_bytes(), yaml.as_bytes()).map_err(io::Error::other)?;

    let mut out = BufWriter::with_capacity(1 << 20, File::create(package)?);
    let mut written = Ok(());
    let mut write = |bytes: &[u8]| {
        if written.is_ok() {
            written = out.write_all(bytes);
        }
    };
    pieces(module.as_ref(), |piece| writer.update(piece, &mut write))?;
    writer.finish(&mut write).map_err(io::Error::other)?;
    written.and_then(|()| out.flush())
}

fn pieces(file: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut file, mut buffer) = (File::open(file)?, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            length => each(&buffer[..length]),
        }
    }
}
