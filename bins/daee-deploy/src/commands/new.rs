//! Agents to begin with. Their files are part of this program, and come to a folder whole or not at all.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf, absolute},
};

use daee_types::{Coded, Fault};
use serde::Serialize;

use crate::{failure::Failure, show::Out};

/// What an agent in one language begins with. `scaffold/README.md` says what each has to do.
#[derive(Debug)]
pub struct Template {
    /// As `--language` takes it.
    pub language: &'static str,
    /// The manifest's `run`, or nothing for a reactor.
    run: &'static str,
    /// The manifest's `resources.memory`.
    memory: &'static str,
    /// What makes `agent.wasm`, in the agent's folder.
    build: &'static str,
    /// What somebody should know before he begins.
    note: Option<&'static str>,
    files: &'static [&'static [File]],
}

/// Its place in the agent's folder, and its text.
type File = (&'static str, &'static str);

/// The files of a folder of this package, and where they go.
macro_rules! files {
    ($from:literal => $to:literal: $($name:literal),+ $(,)?) => {
        &[$((
            concat!($to, $name),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $from, $name)),
        )),+]
    };
}

pub const TEMPLATES: &[Template] = &[
    Template {
        language: "rust",
        run: "",
        memory: "4MiB",
        build: "./build.sh",
        note: None,
        files: &[
            files!(
                "scaffold/rust/" => "":
                ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "build.sh", "src/lib.rs",
            ),
            files!(
                "../../crates/daee-agent/" => "daee-agent/":
                "Cargo.toml", "README.md", "src/answer.rs", "src/chain.rs", "src/door.rs",
                "src/entry.rs", "src/error.rs", "src/event.rs", "src/file.rs", "src/frame.rs", "src/http.rs",
                "src/ipfs.rs", "src/lib.rs", "src/log.rs", "src/sha256.rs", "src/state.rs",
                "src/testing.rs", "src/timer.rs", "src/tree.rs",
            ),
        ],
    },
    Template {
        language: "c",
        run: "",
        memory: "4MiB",
        build: "./build.sh",
        note: None,
        files: &[
            files!("scaffold/c/" => "": ".gitignore", "README.md", "agent.c", "build.sh"),
            files!("../../crates/daee-agent/bindings/c/" => "": "daee.h"),
        ],
    },
    Template {
        language: "assemblyscript",
        run: "",
        memory: "4MiB",
        build: "./build.sh",
        note: None,
        files: &[
            files!(
                "scaffold/assemblyscript/" => "":
                ".gitignore", "README.md", "asconfig.json", "assembly/index.ts",
                "assembly/tsconfig.json", "build.sh", "package-lock.json", "package.json",
            ),
            files!("../../crates/daee-agent/bindings/assemblyscript/" => "assembly/": "daee.ts"),
        ],
    },
    Template {
        language: "go",
        run: "",
        memory: "16MiB",
        build: "./build.sh",
        note: Some(
            "Go's runtime alone is larger than 1 MiB, the most that can be deployed in this version. \
             README.md names a compiler that makes smaller modules.",
        ),
        files: &[
            files!("scaffold/go/" => "": ".gitignore", "README.md", "agent.go", "build.sh", "go.mod"),
            files!("../../crates/daee-agent/bindings/go/" => "daee/": "daee.go"),
        ],
    },
    Template {
        language: "javascript",
        run: "",
        memory: "16MiB",
        build: "./build.sh",
        note: None,
        files: &[
            files!(
                "scaffold/javascript/" => "":
                ".gitignore", "README.md", "agent.js", "build.sh",
            ),
            files!(
                "../../crates/daee-agent/bindings/javascript/" => "daee/":
                "daee.c", "daee.js",
            ),
            files!("../../crates/daee-agent/bindings/c/" => "daee/": "daee.h"),
        ],
    },
    Template {
        language: "python",
        run: "",
        memory: "16MiB",
        build: "./build.sh",
        note: None,
        files: &[
            files!(
                "scaffold/python/" => "":
                ".gitignore", "README.md", "agent.py", "build.sh",
            ),
            files!(
                "../../crates/daee-agent/bindings/python/" => "daee/":
                "Makefile", "daee.c", "daee.py", "embed.py", "mpconfigport.h", "mphalport.h",
                "setjmp.h", "sjlj.c",
            ),
            files!("../../crates/daee-agent/bindings/c/" => "daee/": "daee.h"),
        ],
    },
];

/// What all have, in whatever language.
const COMMON: &[File] = files!("scaffold/common/" => "": "agent.yaml");
/// What an editor completes `agent.yaml` from.
const SCHEMA: &str = "agent.schema.json";
/// The part of every README that is the same.
const RUNNING: &str = include_str!("../../scaffold/common/running.md");
/// Where files lie until all of them are written.
const STAGE: &str = ".daee-new";

/// Why there is no new agent.
#[derive(Debug, thiserror::Error)]
enum NewError {
    #[error("{} is not empty: name a folder that is, or a new one", .0.display())]
    NotEmpty(PathBuf),
    #[error(
        "{0:?} is not the name of an agent: two or more labels of a-z, 0-9 and inner hyphens, \
         without a version, as in talos.example.hello; 128 bytes at most"
    )]
    Name(String),
    #[error("{} cannot be written: {why}", .path.display())]
    Unwritable { path: PathBuf, why: String },
}

impl Coded for NewError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEmpty(_) => "DAEE-Y002",
            Self::Name(_) => "DAEE-Y003",
            Self::Unwritable { .. } => "DAEE-Y004",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

impl From<NewError> for Failure {
    fn from(error: NewError) -> Self {
        match error {
            NewError::NotEmpty(_) => Self::no(error),
            NewError::Name(_) | NewError::Unwritable { .. } => Self::could_not(error),
        }
    }
}

pub fn new(
    out: &Out,
    folder: &Path,
    template: &Template,
    name: Option<&str>,
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        language: &'static str,
        folder: String,
        files: Vec<&'static str>,
        build: &'static str,
        note: Option<&'static str>,
    }
    let name = name.map_or_else(|| name_of(folder), str::to_owned);
    if !daee_policy::is_agent_name(&name) {
        return Err(NewError::Name(name).into());
    }
    let files = template.write(folder, &name)?;
    let shown = Shown {
        name: &name,
        language: template.language,
        folder: folder.display().to_string(),
        files,
        build: template.build,
        note: template.note,
    };
    out.result(&shown, |text| {
        for file in &shown.files {
            text.fact("written", folder.join(file).display())?;
        }
        text.line("")?;
        if folder != Path::new(".") {
            text.line(&format!("  cd {}", shown.folder))?;
        }
        for (command, why) in [
            (shown.build, "README.md names what it needs"),
            ("daee-deploy pack", "agent.yaml and agent.wasm become agent.car"),
            ("daee-node dev --dir network", "a network, in another terminal"),
            ("daee-deploy up --dir network --max-rate 30 --pay 30", ""),
        ] {
            let why = if why.is_empty() { String::new() } else { format!("  # {why}") };
            text.line(&format!("  {command:<27}{why}"))?;
        }
        if let Some(note) = shown.note {
            text.line("")?;
            text.line(note)?;
        }
        Ok(())
    })?;
    Ok(0)
}

impl Template {
    /// Its files, with this name in them.
    fn filled(&self, name: &str) -> Vec<(&'static str, String)> {
        let (run, lasts) = match self.run {
            "" => (String::new(), ", as its memory does until the next version"),
            style => (format!("run: {style}\n"), "; its memory goes with its process"),
        };
        let words = [
            ("{{running}}", RUNNING),
            ("{{name}}", name),
            ("{{memory}}", self.memory),
            ("{{run}}", &run),
            ("{{lasts}}", lasts),
        ];
        let fill = move |text: &str| {
            words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
        };
        let schema = (SCHEMA, format!("{:#}\n", daee_manifest::json_schema()));
        let own = self.files.iter().copied().flatten();
        // The manifest last: a folder without one is no agent yet.
        let own = own.map(|(path, text)| (*path, fill(text))).chain([schema]);
        own.chain(COMMON.iter().map(|(path, text)| (*path, fill(text)))).collect()
    }

    /// Writes it to a folder that is new or empty. What cannot be written whole is taken away again.
    fn write(&self, folder: &Path, name: &str) -> Result<Vec<&'static str>, NewError> {
        let unwritable = |path: &Path, error: &io::Error| NewError::Unwritable {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let is_new = match fs::read_dir(folder) {
            Ok(mut entries) => match entries.next() {
                Some(_) => return Err(NewError::NotEmpty(folder.to_owned())),
                None => false,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(unwritable(folder, &error)),
        };
        let stage = folder.join(STAGE);
        fs::create_dir_all(folder)
            .and_then(|()| fs::create_dir(&stage))
            .map_err(|error| unwritable(folder, &error))?;
        let mut moved = Vec::new();
        let written = self.stage(&stage, name).and_then(|files| {
            for file in &files {
                // A folder comes with the first of its files.
                let top = file.split('/').next().unwrap_or(file);
                if !moved.contains(&top) {
                    fs::rename(stage.join(top), folder.join(top)).map_err(|e| (top, e))?;
                    moved.push(top);
                }
            }
            Ok(files)
        });
        let _ = fs::remove_dir_all(&stage);
        written.map_err(|(file, error)| {
            for top in moved {
                let path = folder.join(top);
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
            if is_new {
                let _ = fs::remove_dir(folder);
            }
            unwritable(&folder.join(file), &error)
        })
    }

    fn stage(
        &self,
        stage: &Path,
        name: &str,
    ) -> Result<Vec<&'static str>, (&'static str, io::Error)> {
        let mut files = Vec::new();
        for (file, text) in self.filled(name) {
            let path = stage.join(file);
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(stage))?;
                fs::write(&path, text)?;
                if file.ends_with(".sh") {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                }
                Ok(())
            };
            write().map_err(|error| (file, error))?;
            files.push(file);
        }
        Ok(files)
    }
}

/// A name for the agent in a folder that is called like this.
fn name_of(folder: &Path) -> String {
    let folder = absolute(folder).unwrap_or_default();
    let word = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let label = word.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    match label.trim_matches('-') {
        "" => "talos.example.hello".to_owned(),
        label => format!("talos.example.{label}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_agent_a_name_that_is_one() {
        for (folder, name) in [
            ("price", "talos.example.price"),
            ("to/My Agent", "talos.example.my-agent"),
            ("-a.b_", "talos.example.a-b"),
            ("..", "talos.example.hello"),
            ("/", "talos.example.hello"),
            ("\u{e9}", "talos.example.hello"),
        ] {
            assert_eq!(name_of(Path::new(folder)), name, "{folder}");
            assert!(daee_policy::is_agent_name(name));
        }
    }

    #[test]
    fn every_file_that_lies_in_a_template_comes_with_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for Template { language, files, .. } in TEMPLATES {
            let listed: Vec<_> = files.iter().copied().flatten().map(|(path, _)| *path).collect();
            let folder = root.join("scaffold").join(language);
            for file in files_below(&folder) {
                let name = file.strip_prefix(&folder).unwrap().to_str().unwrap();
                assert!(listed.contains(&name), "{language}: {name} is not in the table");
            }
        }
        let sdk = root.join("../../crates");
        let rust = TEMPLATES.iter().find(|template| template.language == "rust").unwrap();
        let listed: Vec<_> = rust.files.iter().copied().flatten().map(|(path, _)| *path).collect();
        let bindings = sdk.join("daee-agent/bindings");
        for file in files_below(&sdk.join("daee-agent")) {
            let name = file.strip_prefix(&sdk).unwrap().to_str().unwrap();
            let other = file.starts_with(&bindings);
            assert!(other || listed.contains(&name), "rust: {name} is not in the table");
        }
    }

    #[test]
    fn no_placeholder_is_left() {
        for template in TEMPLATES {
            for (path, text) in template.filled("talos.example.hello") {
                let language = template.language;
                let word = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase());
                let left = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
                let left: Vec<_> = left.map(|(part, _)| part).filter(|part| word(part)).collect();
                assert!(left.is_empty(), "{language}: {path} has {left:?}");
                assert!(!path.starts_with('/') && !path.contains(".."), "{path}");
            }
        }
    }

    #[test]
    fn what_cannot_be_written_whole_leaves_nothing() {
        for second in [
            "a/b",         // below what is a file by then
            ".daee-new/a", // in the way of what all files go through
        ] {
            let files: &'static [File] = Box::leak(Box::new([("a", "1"), (second, "2")]));
            let files: &'static [&'static [File]] = Box::leak(Box::new([files]));
            let template = Template { files, ..TEMPLATES[0] };
            let place = daee_testkit::folder();
            let (there, new) = (place.path().join("there"), place.path().join("new"));
            fs::create_dir(&there).unwrap();
            for folder in [&there, &new] {
                let error = template.write(folder, "talos.example.hello").unwrap_err();
                assert_eq!(error.code(), "DAEE-Y004", "{second}: {error}");
            }
            assert_eq!(files_below(place.path()), Vec::<PathBuf>::new(), "{second}");
            assert!(there.exists() && !new.exists(), "{second}");
        }
    }

    fn files_below(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
            .collect()
    }
}
