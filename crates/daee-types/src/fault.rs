use std::fmt;

/// Who caused a failure. Only a node's fault may cost stake; a network fault is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The agent, its manifest or its owner: trying again changes nothing.
    Developer,
    /// This node or its operator.
    Node,
    /// Something between: a gateway, a peer, a chain endpoint. Trying again may help.
    Network,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Developer => "developer",
            Fault::Node => "node",
            Fault::Network => "network",
        })
    }
}

/// An error with a stable code (`DAEE-X000`) and somebody whose fault it is.
pub trait Coded: std::error::Error {
    /// Stable across versions; scripts and contracts may match on it.
    fn code(&self) -> &'static str;
    /// Whose fault it is, which decides who pays and whether to retry.
    fn fault(&self) -> Fault;
}
