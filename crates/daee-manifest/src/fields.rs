use std::{fmt, str::FromStr};

use daee_types::{ByteSize, MilliCpu};

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
        if text.len() > 192 {
            return Err("name and version together are longer than 192 bytes".to_owned());
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

/// `256MiB`: a whole number and a unit.
pub(crate) fn size(text: &str) -> Result<ByteSize, String> {
    let at = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "" => {
            return Err(format!("{:?} has no unit: write KiB, MiB, GiB, kB, MB or GB", cut(text)));
        }
        _ => {
            return Err(format!(
                "{:?} is not a unit: write KiB, MiB, GiB, kB, MB or GB",
                cut(unit)
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{:?} is not a size: write it as in 256MiB", cut(text)))?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0 && *bytes <= 1 << 40)
        .map(ByteSize)
        .ok_or_else(|| format!("{:?} is not between 1 B and 1 TiB", cut(text)))
}

/// `false`, `true` or a count.
pub(crate) fn gpu(text: &str) -> Result<u16, String> {
    match text {
        "false" => Ok(0),
        "true" => Ok(1),
        _ if text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 3 && !text.is_empty() => {
            text.parse().map_err(|_| text.to_owned())
        }
        _ => Err(format!(
            "{:?} is not a number of GPUs: write \"false\", \"true\" or a count",
            cut(text)
        )),
    }
}

/// A relative path to a `.wasm` file.
pub(crate) fn entry_point(text: &str) -> Result<(), String> {
    let wrong = |why| Err(format!("{:?} is not an entry point: {why}", cut(text)));
    if !text.ends_with(".wasm") || text == ".wasm" {
        return wrong("it must end in .wasm");
    }
    if text.starts_with('/') || text.contains('\\') {
        return wrong("write a relative path with forward slashes");
    }
    if text.len() > 255 {
        return wrong("it is longer than 255 bytes");
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("it must not hold empty parts, . or ..");
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The known text nearest to what was written, if it is near.
pub(crate) fn nearest(
    written: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let written = cut(written);
    known
        .map(|known| (strsim::damerau_levenshtein(&written, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}
