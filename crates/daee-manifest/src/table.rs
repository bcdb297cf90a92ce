//! The fields of a manifest: the one list that reader, schema and documentation go by.

/// A key and what may stand under it.
pub(crate) struct Field {
    pub name: &'static str,
    /// The rule that a wrong value breaks.
    pub rule: &'static str,
    pub required: bool,
    /// What the value must be, in the words of `docs/spec/manifest.md`.
    pub says: &'static str,
    /// What holds without it, in the same words.
    pub left_out: &'static str,
    /// The text that means the same as none, if one does.
    pub default: Option<&'static str>,
    pub holds: Holds,
}

pub(crate) enum Holds {
    Text(Text),
    /// Up to [`LIST_MAX`] texts, none of them twice.
    List(Text),
    /// Up to [`LIST_MAX`] names and texts.
    Pairs {
        name: Text,
        value: Text,
    },
    Fields(&'static [&'static Field]),
}

/// What a text may be. The reader's own grammar is stricter where it says so; the pattern takes whatever
/// the reader takes.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub bytes_max: usize,
    /// A regular expression, of the kind that JSON Schema takes.
    pub pattern: Option<&'static str>,
    /// One that a text must not match.
    pub never: Option<&'static str>,
    /// The texts there are and what they mean, where nothing else is allowed.
    pub words: &'static [(&'static str, &'static str)],
    pub examples: &'static [&'static str],
}

impl Text {
    const fn up_to(bytes_max: usize) -> Self {
        Self { bytes_max, pattern: None, never: None, words: &[], examples: &[] }
    }
    const fn like(bytes_max: usize, pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..Self::up_to(bytes_max) }
    }
    const fn one_of(words: &'static [(&'static str, &'static str)]) -> Self {
        Self { words, ..Self::up_to(VALUE_BYTES_MAX) }
    }
    const fn never(self, pattern: &'static str) -> Self {
        Self { never: Some(pattern), ..self }
    }
    /// The text, if it is not too long.
    pub fn fits(self, text: &str) -> Result<&str, String> {
        match self.bytes_max {
            max if text.len() <= max => Ok(text),
            max if max % 1024 == 0 => Err(format!("longer than {} KiB", max / 1024)),
            max => Err(format!("longer than {max} bytes")),
        }
    }
    const fn as_in(self, examples: &'static [&'static str]) -> Self {
        Self { examples, ..self }
    }
}

/// Most entries of a list or map.
pub(crate) const LIST_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1 << 10;
const VALUE_BYTES_MAX: usize = 4 << 10;
const NAME_BYTES_MAX: usize = 64;

const OPTIONAL: Field = Field {
    name: "",
    rule: "",
    required: false,
    says: "",
    left_out: "empty",
    default: None,
    holds: Holds::Text(Text::up_to(VALUE_BYTES_MAX)),
};
const REQUIRED: Field = Field { required: true, left_out: "refused", ..OPTIONAL };

/// All of them, in the order in which they are told.
pub(crate) static FIELDS: [&Field; 16] = [
    &AGENT_ID,
    &DESCRIPTION,
    &COMPLIANCE,
    &RESOURCES,
    &ENTRY_POINT,
    &ARTIFACT_HASH,
    &PERMISSIONS,
    &RUN,
    &SCHEDULE,
    &ENV,
    &SECRETS,
    &ARGS,
    &DURABILITY,
    &ENDPOINT,
    &SLA,
    &A2A,
];

pub(crate) static AGENT_ID: Field = Field {
    name: "agent_id",
    rule: "DAEE-M010",
    says: "`NAME@vVERSION`; the name is two or more labels of `a-z`, `0-9` and inner hyphens between dots, \
           at most 128 bytes; the version is SemVer 2.0; both together at most 192 bytes",
    holds: Holds::Text(
        Text::like(
            192,
            concat!(
                r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+",
                r"@v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)",
                r"(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"
            ),
        )
        .as_in(&["talos.oracle.price-eth@v1.2.0"]),
    ),
    ..REQUIRED
};
pub(crate) static DESCRIPTION: Field = Field {
    name: "description",
    rule: "DAEE-M011",
    says: "at most 1 KiB",
    default: Some(""),
    holds: Holds::Text(Text::up_to(TEXT_BYTES_MAX)),
    ..OPTIONAL
};
pub(crate) static COMPLIANCE: Field = Field {
    name: "compliance",
    rule: "DAEE-M012",
    says: "list of `TIP-N`",
    holds: Holds::List(Text::like(10, "^TIP-[1-9][0-9]{0,5}$").as_in(&["TIP-3"])),
    ..OPTIONAL
};
pub(crate) static RESOURCES: Field = Field {
    name: "resources",
    says: "what the agent needs to run",
    holds: Holds::Fields(&[&CPU, &MEMORY, &GPU, &STORAGE]),
    ..REQUIRED
};
pub(crate) static CPU: Field = Field {
    name: "cpu",
    rule: "DAEE-M013",
    says: "vCPUs as `0.25` or `250m`, more than 0, no finer than a thousandth",
    holds: Holds::Text(
        Text::like(10, r"^([0-9]{1,6}m|[0-9]{1,6}(\.[0-9]{1,3})?)$")
            .never("^[0.]+m?$")
            .as_in(&["0.25", "250m"]),
    ),
    ..REQUIRED
};
const SIZE: Text = Text::like(VALUE_BYTES_MAX, "^[0-9]+(KiB|MiB|GiB|kB|MB|GB)$")
    .never("^0+[A-Za-z]+$")
    .as_in(&["64MiB", "256MiB", "1GiB"]);
pub(crate) static MEMORY: Field = Field {
    name: "memory",
    rule: "DAEE-M014",
    says: "a whole number and one of `KiB` `MiB` `GiB` `kB` `MB` `GB`, more than 0, at most 1 TiB",
    holds: Holds::Text(SIZE),
    ..REQUIRED
};
pub(crate) static GPU: Field = Field {
    name: "gpu",
    rule: "DAEE-M015",
    says: "`false`, `true` (one) or a count of at most three digits",
    left_out: "none",
    default: Some("false"),
    holds: Holds::Text(Text::like(5, "^(false|true|[0-9]{1,3})$").as_in(&["false", "true", "2"])),
    ..OPTIONAL
};
pub(crate) static STORAGE: Field = Field {
    name: "storage",
    rule: "DAEE-M016",
    says: "quota of the agent's state, written like memory",
    left_out: "`64MiB`",
    default: Some("64MiB"),
    holds: Holds::Text(SIZE),
    ..OPTIONAL
};
pub(crate) static ENTRY_POINT: Field = Field {
    name: "entry_point",
    rule: "DAEE-M017",
    says: "relative path to a `.wasm` file with forward slashes, without `.`, `..` or empty parts, at most 255 \
           bytes",
    holds: Holds::Text(
        Text::like(255, r"^[^\\]+\.wasm$").never(r"(^|/)\.{0,2}(/|$)").as_in(&["oracle.wasm"]),
    ),
    ..REQUIRED
};
pub(crate) static ARTIFACT_HASH: Field = Field {
    name: "artifact_hash",
    rule: "DAEE-M018",
    says: "SHA-256 of that file, 64 lower-case hex digits; `sha256:` may stand before it",
    holds: Holds::Text(Text::like(VALUE_BYTES_MAX, "^(sha256:)?[0-9a-f]{64}$")),
    ..REQUIRED
};
pub(crate) static PERMISSIONS: Field = Field {
    name: "permissions",
    rule: "DAEE-M019",
    says: "list, see [below](#permissions)",
    left_out: "nothing is allowed",
    holds: Holds::List(Text::up_to(VALUE_BYTES_MAX)),
    ..OPTIONAL
};
pub(crate) static RUN: Field = Field {
    name: "run",
    rule: "DAEE-M020",
    says: "`resident` or `per-event`",
    left_out: "a reactor, which exports `daee_turn`",
    holds: Holds::Text(Text::one_of(&[
        ("resident", "a program that runs and waits for its events itself"),
        ("per-event", "a program that is run once for each event"),
    ])),
    ..OPTIONAL
};
pub(crate) static SCHEDULE: Field = Field {
    name: "schedule",
    rule: "DAEE-M021",
    says: "cron in UTC, see [below](#schedule)",
    left_out: "never",
    holds: Holds::Text(
        Text::like(256, r"^[ \t]*[0-9A-Za-z*,/?-]+([ \t]+[0-9A-Za-z*,/?-]+){4,5}[ \t]*$")
            .as_in(&["*/5 * * * *", "0 9 * * MON-FRI"]),
    ),
    ..OPTIONAL
};
pub(crate) static ENV: Field = Field {
    name: "env",
    rule: "DAEE-M022",
    says: "names of letters, digits and `_`, not starting with a digit, at most 64 bytes; values at most 4 KiB",
    holds: Holds::Pairs {
        name: Text::like(NAME_BYTES_MAX, "^[A-Za-z_][A-Za-z0-9_]*$"),
        value: Text::up_to(VALUE_BYTES_MAX),
    },
    ..OPTIONAL
};
pub(crate) static SECRETS: Field = Field {
    name: "secrets",
    rule: "DAEE-M023",
    says: "names of letters, digits, `_` and `-`, at most 64 bytes",
    holds: Holds::List(Text::like(NAME_BYTES_MAX, "^[A-Za-z0-9_-]+$").as_in(&["api-key"])),
    ..OPTIONAL
};
pub(crate) static ARGS: Field = Field {
    name: "args",
    rule: "DAEE-M024",
    says: "texts of at most 4 KiB",
    holds: Holds::List(Text::up_to(VALUE_BYTES_MAX)),
    ..OPTIONAL
};
pub(crate) static DURABILITY: Field = Field {
    name: "durability",
    rule: "DAEE-M025",
    says: "`local`: an answer waits for this node's disk; `turn`: for a peer, too; `checkpoint`: for neither",
    left_out: "`local`",
    default: Some("local"),
    holds: Holds::Text(Text::one_of(&[
        ("local", "an answer waits for this node's disk"),
        ("turn", "an answer waits for this node's disk and for a peer"),
        (
            "checkpoint",
            "an answer waits for nothing: what was said since the last checkpoint may be lost",
        ),
    ])),
    ..OPTIONAL
};
pub(crate) static ENDPOINT: Field = Field {
    name: "endpoint",
    rule: "DAEE-M026",
    says: "`public` or `private`",
    left_out: "`public`",
    default: Some("public"),
    holds: Holds::Text(Text::one_of(&[
        ("public", "anyone may call the agent"),
        ("private", "the deployer's sessions alone may call the agent"),
    ])),
    ..OPTIONAL
};
const SECONDS: Text = Text::like(11, "^[0-9]{1,10}s$").never("^0+s$").as_in(&["60s", "3600s"]);
pub(crate) static SLA: Field = Field {
    name: "sla",
    says: "what the network promises for the agent",
    left_out: "the network's",
    holds: Holds::Fields(&[&HEARTBEAT, &GRACE]),
    ..OPTIONAL
};
pub(crate) static HEARTBEAT: Field = Field {
    name: "heartbeat",
    rule: "DAEE-M027",
    says: "how often a node says that the agent runs, in seconds as `3600s`",
    left_out: "the network's",
    holds: Holds::Text(SECONDS),
    ..OPTIONAL
};
pub(crate) static GRACE: Field = Field {
    name: "grace",
    rule: "DAEE-M027",
    says: "how long it may be late, in seconds as `600s`",
    left_out: "the network's",
    holds: Holds::Text(SECONDS),
    ..OPTIONAL
};
pub(crate) static A2A: Field = Field {
    name: "a2a",
    rule: "DAEE-M028",
    says: "skills: a name of `a-z`, `0-9`, `-` and `_`, and what it does in at most 1 KiB",
    holds: Holds::Pairs {
        name: Text::like(NAME_BYTES_MAX, "^[a-z0-9_-]+$"),
        value: Text::up_to(TEXT_BYTES_MAX),
    },
    ..OPTIONAL
};

/// The names of some fields.
pub(crate) fn names(fields: &[&'static Field]) -> impl Iterator<Item = &'static str> {
    fields.iter().map(|field| field.name)
}

/// The names of those that must be there.
pub(crate) fn names_required(fields: &[&'static Field]) -> impl Iterator<Item = &'static str> {
    fields.iter().filter(|field| field.required).map(|field| field.name)
}
