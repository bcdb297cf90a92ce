use std::{fmt, str::FromStr};

use daee_types::{ArtifactHash, ByteSize, MilliCpu};

/// `name@vSEMVER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentId {
    name: String,
    version: semver::Version,
}

impl AgentId {
    /// Two or more labels, as `talos.oracle.price-eth`.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The version, as `1.2.0`.
    pub fn version(&self) -> String {
        self.version.to_string()
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@v{}", self.name, self.version)
    }
}

impl FromStr for AgentId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = text
            .split_once("@v")
            .ok_or_else(|| format!("{:?} has no version: write name@v1.2.3", cut(text)))?;
        if !daee_policy::is_agent_name(name) {
            return Err(format!(
                "{:?} is not a name: write two or more labels of a-z, 0-9 and inner hyphens, as in \
                 talos.oracle.price-eth, 128 bytes at most",
                cut(name)
            ));
        }
        let version = semver::Version::parse(version)
            .map_err(|error| format!("{version:?} is not a SemVer version: {error}"))?;
        Ok(Self { name: name.to_owned(), version })
    }
}

/// The manifest's `run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// Nothing said: a reactor, told by its export.
    #[default]
    Reactor,
    /// `resident`.
    Resident,
    /// `per-event`.
    PerEvent,
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The transcript's group commit on this node's disk.
    #[default]
    Local,
    /// A peer, too.
    Turn,
    /// Nothing: what was said since the last checkpoint may be forgotten.
    Checkpoint,
}

/// Who may call the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endpoint {
    /// Anyone.
    #[default]
    Public,
    /// The deployer's sessions only.
    Private,
}

/// `0.25` or `250m`.
pub(crate) fn cpu(text: &str) -> Result<MilliCpu, String> {
    let wrong =
        || format!("{:?} is not a number of vCPUs: write 0.25 or 250m, more than 0", cut(text));
    let digits = |s: &str| !s.is_empty() && s.len() <= 6 && s.bytes().all(|b| b.is_ascii_digit());
    let milli = if let Some(milli) = text.strip_suffix('m') {
        if !digits(milli) {
            return Err(wrong());
        }
        milli.parse::<u32>().map_err(|_| wrong())?
    } else {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        if fraction.len() > 3 {
            return Err(format!("{:?} is finer than a thousandth of a vCPU", cut(text)));
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let fraction: u32 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
        whole * 1000 + fraction
    };
    if milli == 0 { Err(wrong()) } else { Ok(MilliCpu(milli)) }
}

/// Units of sizes, and their bytes.
const UNITS: [(&str, u64); 6] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// `256MiB`: a whole number and a unit.
pub(crate) fn size(text: &str) -> Result<ByteSize, String> {
    let at = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    if number.is_empty() {
        return Err(format!("{:?} is not a size: write it as in 256MiB", cut(text)));
    }
    let Some((_, factor)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
        const WRITE: &str = "write KiB, MiB, GiB, kB, MB or GB";
        return Err(match unit {
            "" => format!("{:?} has no unit: {WRITE}", cut(text)),
            _ => format!("{:?} is not a unit: {WRITE}{}", cut(unit), unit_meant(unit)),
        });
    };
    number
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0 && *bytes <= 1 << 40)
        .map(ByteSize)
        .ok_or_else(|| format!("{:?} is not between 1 B and 1 TiB", cut(text)))
}

/// `Mi`, `mib`, `M` and ` MiB` are all meant for a unit; others are not guessed at.
fn unit_meant(unit: &str) -> String {
    let bare = |unit: &str| unit.trim().to_ascii_lowercase().trim_end_matches('b').to_owned();
    let meant = UNITS.iter().find(|(name, _)| bare(name) == bare(unit));
    meant.map_or(String::new(), |(name, _)| format!(", did you mean {name}?"))
}

/// `false`, `true` or a count.
pub(crate) fn gpu(text: &str) -> Result<u16, String> {
    let wrong = || {
        let hint = did_you_mean(text, ["false", "true"].into_iter());
        format!(
            "{:?} is not a number of GPUs: write \"false\", \"true\" or a count{hint}",
            cut(text)
        )
    };
    match text {
        "false" => Ok(0),
        "true" => Ok(1),
        _ if text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// `3600s`.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let digits = text.strip_suffix('s').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let seconds = digits.and_then(|digits| digits.parse().ok()).filter(|seconds| *seconds > 0);
    seconds.ok_or_else(|| format!("{:?} is not a time: write seconds as in 3600s", cut(text)))
}

/// `TIP-3`.
pub(crate) fn tip(text: &str) -> Result<String, String> {
    let number = text.strip_prefix("TIP-").unwrap_or_default();
    let fine = !number.is_empty() && number.len() <= 6 && !number.starts_with('0');
    match fine && number.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{:?} is not a TIP: write it as in TIP-3", cut(text))),
    }
}

/// A relative path to a `.wasm` file.
pub(crate) fn entry_point(text: &str) -> Result<String, String> {
    let wrong = |why| Err(format!("{:?} is not an entry point: {why}", cut(text)));
    if !text.ends_with(".wasm") || text == ".wasm" {
        return wrong("it must end in .wasm");
    }
    if text.starts_with('/') || text.contains('\\') {
        return wrong("write a relative path with forward slashes");
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("it must not hold empty parts, . or ..");
    }
    Ok(text.to_owned())
}

/// 64 digits, with `sha256:` before them or not.
pub(crate) fn hash(text: &str) -> Result<ArtifactHash, String> {
    text.strip_prefix("sha256:").unwrap_or(text).parse().map_err(|_| {
        let what = if text.contains("...") { "an abbreviated" } else { "not a SHA-256" };
        format!(
            "{what} hash: write the 64 lower-case hex digits that `sha256sum` prints for the .wasm \
             file"
        )
    })
}

/// The name of a variable.
pub(crate) fn variable(name: &str) -> Result<(), String> {
    let fine = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match fine {
        true => Ok(()),
        false => Err(format!("{:?} is not a variable: write letters, digits and _", cut(name))),
    }
}

/// The name of a secret.
pub(crate) fn secret(text: &str) -> Result<String, String> {
    let fine =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    match fine {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{:?} is not a secret's name: write letters, digits, _ and -", cut(text)))
        }
    }
}

/// The name of a skill.
pub(crate) fn skill(name: &str) -> Result<(), String> {
    let fine = !name.is_empty()
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    match fine {
        true => Ok(()),
        false => Err(format!("{:?} is not a skill's name: write a-z, 0-9, - and _", cut(name))),
    }
}

/// As much of a text as a message repeats.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The question after the known text nearest to what was written, if it is near.
pub(crate) fn did_you_mean(written: &str, known: impl Iterator<Item = &'static str>) -> String {
    let written = cut(written).to_lowercase();
    let near = |known: &str| known.len().div_ceil(3);
    let nearest = known
        .filter(|known| written.len().abs_diff(known.len()) <= near(known))
        .map(|known| (strsim::osa_distance(&written, known), known))
        .filter(|(distance, known)| *distance <= near(known))
        .min();
    nearest.map_or(String::new(), |(_, known)| format!(", did you mean {known}?"))
}
