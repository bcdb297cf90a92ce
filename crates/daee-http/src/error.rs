use std::{error::Error as _, io, net::SocketAddr, time::Duration};

use daee_types::{ByteSize, Coded, Fault};

/// Why nothing can be served at an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error(
        "port {} of {} is in use: stop what listens there, or choose another port",
        .0.port(), .0.ip()
    )]
    InUse(SocketAddr),
    /// The system does not let this user.
    #[error(
        "port {} of {} needs more rights than this user has: choose one above 1023",
        .0.port(), .0.ip()
    )]
    NotAllowed(SocketAddr),
    /// No such address on this machine, or no more sockets.
    #[error("cannot listen on {address}: {why}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: String,
    },
}

impl BindError {
    pub(crate) fn of(address: SocketAddr, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            io::ErrorKind::PermissionDenied => BindError::NotAllowed(address),
            _ => BindError::Other { address, why: error.to_string() },
        }
    }
}

impl Coded for BindError {
    fn code(&self) -> &'static str {
        match self {
            BindError::InUse(_) => "DAEE-H001",
            BindError::NotAllowed(_) => "DAEE-H002",
            BindError::Other { .. } => "DAEE-H003",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Not an http or https URL with a host.
    #[error("{0:?} is not an http or https URL")]
    Url(String),
    /// A header or the target cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The name leads nowhere.
    #[error("{0} does not resolve to any address")]
    Resolve(String),
    /// None of the addresses answers.
    #[error("cannot connect to {to}: {why}")]
    Connect {
        /// Who was dialled.
        to: String,
        /// What the last of them said.
        why: String,
    },
    /// No certificate that is trusted for this name.
    #[error("no TLS with {host}: {why}")]
    Tls {
        /// The name the certificate has to be for.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// What was to be sent could not be read to its end.
    #[error("what was to be sent could not be read: {0}")]
    Upload(String),
    /// It took too long.
    #[error("no {what} within {millis} ms")]
    Timeout {
        /// connection, answer, more of the answer, or progress in sending.
        what: &'static str,
        /// The bound in milliseconds.
        millis: u64,
    },
    /// The answer is larger than the caller takes.
    #[error("the answer is larger than {0}")]
    TooLarge(ByteSize),
    /// The peer broke off, or does not speak HTTP.
    #[error("the exchange broke: {0}")]
    Broken(String),
}

impl HttpError {
    /// What broke while a request was sent, to a peer that has `stall` to take more of it.
    pub(crate) fn sending(error: &hyper::Error, stall: Duration) -> Self {
        let inner = || error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if inner().is_some_and(|inner| inner.kind() == io::ErrorKind::TimedOut) {
            return HttpError::timeout("progress in sending", stall);
        }
        match inner() {
            Some(why) if error.is_user() => HttpError::Upload(why.to_string()),
            _ => HttpError::broken(error),
        }
    }

    pub(crate) fn broken(error: &hyper::Error) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            why = format!("{why}: {inner}");
            source = inner.source();
        }
        HttpError::Broken(why)
    }

    pub(crate) fn timeout(what: &'static str, after: Duration) -> Self {
        HttpError::Timeout { what, millis: after.as_millis().try_into().unwrap_or(u64::MAX) }
    }
}

impl Coded for HttpError {
    fn code(&self) -> &'static str {
        match self {
            HttpError::Url(_) => "DAEE-H010",
            HttpError::Request(_) => "DAEE-H011",
            HttpError::Resolve(_) => "DAEE-H012",
            HttpError::Connect { .. } => "DAEE-H013",
            HttpError::Tls { .. } => "DAEE-H014",
            HttpError::Timeout { .. } => "DAEE-H015",
            HttpError::TooLarge(_) => "DAEE-H016",
            HttpError::Broken(_) => "DAEE-H017",
            HttpError::Upload(_) => "DAEE-H018",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            HttpError::Url(_)
            | HttpError::Request(_)
            | HttpError::Upload(_)
            | HttpError::TooLarge(_) => Fault::Developer,
            _ => Fault::Network,
        }
    }
}
