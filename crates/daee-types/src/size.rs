use std::fmt;

/// A number of bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }
    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
    /// So many GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
    /// Whole MiB, rounded up: what the market reserves.
    pub const fn mib_ceil(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 >> shift > 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// Thousandths of a vCPU.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct MilliCpu(pub u32);

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

/// What an agent asks for and a node sets aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    /// Share of a core.
    pub cpu: MilliCpu,
    /// Linear memory and what the host keeps for it.
    pub memory: ByteSize,
    /// Number of GPUs.
    pub gpu: u16,
}

/// The resources do not fit where they were to be put.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} of {what} asked for, {free} free")]
pub struct SizeError {
    /// `cpu`, `memory` or `gpu`.
    pub what: &'static str,
    /// What was asked for.
    pub wanted: u64,
    /// What is left.
    pub free: u64,
}

impl Resources {
    /// Takes `wanted` out of what is free, or says which part is short.
    pub fn take(&mut self, wanted: &Resources) -> Result<(), SizeError> {
        let short = |what, wanted: u64, free: u64| SizeError { what, wanted, free };
        if wanted.cpu > self.cpu {
            return Err(short("cpu", wanted.cpu.0.into(), self.cpu.0.into()));
        }
        if wanted.memory > self.memory {
            return Err(short("memory", wanted.memory.0, self.memory.0));
        }
        if wanted.gpu > self.gpu {
            return Err(short("gpu", wanted.gpu.into(), self.gpu.into()));
        }
        self.cpu.0 -= wanted.cpu.0;
        self.memory.0 -= wanted.memory.0;
        self.gpu -= wanted.gpu;
        Ok(())
    }

    /// Puts back what [`Resources::take`] took.
    pub fn put(&mut self, given: &Resources) {
        self.cpu.0 += given.cpu.0;
        self.memory.0 += given.memory.0;
        self.gpu += given.gpu;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_named_and_nothing_is_taken() {
        let mut free = Resources { cpu: MilliCpu(1000), memory: ByteSize::mib(512), gpu: 0 };
        let before = free;
        let wanted = Resources { cpu: MilliCpu(250), memory: ByteSize::gib(1), gpu: 0 };
        assert_eq!(free.take(&wanted).unwrap_err().what, "memory");
        assert_eq!(free, before);
    }
}
