use daee_types::{Coded, Fault};

use crate::{BLOCK_BYTES_MAX, RootError};

/// One reason why bytes are no package, or cannot be made one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Not a CARv1, so that what follows cannot be read.
    #[error("not a package: {what} at byte {at}")]
    Malformed {
        /// What was wrong.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// A block is not what its CID names.
    #[error("block {cid} of the {part} is not the content its CID names")]
    WrongBlock {
        /// artifact, body or yaml.
        part: &'static str,
        /// The CID.
        cid: String,
    },
    /// A block is not there.
    #[error("block {cid} of the {part} is missing")]
    Missing {
        /// artifact, body or yaml.
        part: &'static str,
        /// The CID.
        cid: String,
    },
    /// A block stands behind one that should follow it.
    #[error(
        "block {cid} of the {part} is not in its place: artifact, body and yaml, in this order"
    )]
    Misplaced {
        /// artifact, body or yaml.
        part: &'static str,
        /// The CID.
        cid: String,
    },
    /// Too large for one block.
    #[error("the {part} is {size} bytes, more than the {BLOCK_BYTES_MAX} of one block")]
    TooLarge {
        /// artifact, body, yaml, or a block of neither.
        part: &'static str,
        /// Its size in bytes.
        size: u64,
    },
    /// Bytes behind the last block that are no block.
    #[error("{0} bytes stand behind the last block")]
    Trailing(u64),
    /// A block that no root leads to.
    #[error("block {cid} belongs to nothing in here")]
    Extra {
        /// The CID.
        cid: String,
    },
    /// A block more often than it is needed.
    #[error("block {cid} is here once too often")]
    Duplicated {
        /// The CID.
        cid: String,
    },
    /// The file ends before its end.
    #[error("the file is cut short at byte {at}")]
    Truncated {
        /// Its length in bytes.
        at: u64,
    },
    /// A CID that is its own content.
    #[error("an identity CID at byte {at}, which holds its content itself: only sha2-256 is taken")]
    Identity {
        /// Where.
        at: u64,
    },
    /// A CID of another kind.
    #[error(
        "a CIDv{version} of codec {codec:#x} and hash {hash:#x} at byte {at}: only CIDv1 sha2-256 \
             is taken, raw, or dag-pb for an artifact of more than 1 MiB"
    )]
    Kind {
        /// Version of the CID.
        version: u64,
        /// Its multicodec.
        codec: u64,
        /// Its hash function.
        hash: u64,
        /// Where.
        at: u64,
    },
    /// The header has other roots.
    #[error("{what}: the header names the roots of {of}")]
    Roots {
        /// What is wrong with them.
        what: &'static str,
        /// What the roots should be.
        of: &'static str,
    },
    /// A number is written longer than it has to be, or a map in another order.
    #[error("the {what} at byte {at} is not in its only form")]
    NotCanonical {
        /// Header or length.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// The root of a file is not the one there is.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A leaf is in the file again, and was not kept.
    #[error(
        "block {cid} stands in the file again: of such blocks no more than {kept} are kept, so write it \
         as often as the file has it"
    )]
    Repeated {
        /// The CID.
        cid: String,
        /// How many blocks are kept.
        kept: usize,
    },
    /// What was written is not what was hashed before.
    #[error("the artifact changed while it was packed")]
    Changed,
}

impl Coded for PackageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "DAEE-A010",
            Self::WrongBlock { .. } => "DAEE-A011",
            Self::Missing { .. } | Self::Misplaced { .. } => "DAEE-A012",
            Self::TooLarge { .. } => "DAEE-A013",
            Self::Trailing(_) => "DAEE-A014",
            Self::Extra { .. } => "DAEE-A015",
            Self::Duplicated { .. } => "DAEE-A016",
            Self::Truncated { .. } => "DAEE-A017",
            Self::Identity { .. } => "DAEE-A018",
            Self::Kind { .. } => "DAEE-A019",
            Self::Roots { .. } => "DAEE-A030",
            Self::NotCanonical { .. } => "DAEE-A031",
            Self::Root(error) => error.code(),
            Self::Repeated { .. } => "DAEE-A032",
            Self::Changed => "DAEE-A033",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}
