#![doc = include_str!("../README.md")]

mod error;
mod label;
mod session;
mod words;

use std::future::Future;

use daee_types::{Address, DeploymentId, Word};

pub use error::{ErrorBody, LifecycleError};
pub use label::{LABEL_NAME_MAX, deployment_of_host, deployment_of_label, endpoint_label};
pub use session::{
    BODY_SIGNED_MAX, Gate, NONCE_MAX, REQUEST_HEADER, REQUEST_WINDOW_MILLIS, Recover,
    SESSION_HEADER, SESSION_MILLIS_MAX, Session, SessionError, SignedSession, request_digest,
};
pub use words::{
    CheckpointInfo, ContentAnswer, LOG_LINES_MAX, Level, LogLine, LogQuery, NodeInfo, PartQuery,
    Phase, RECORDING_PART_MAX, RecordingInfo, RecordingQuery, Sandbox, Spend, Status, StopAnswer,
    UpdateAnswer,
};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody signed.
    Anyone,
    /// A [`Gate`] let this wallet in.
    Wallet(Address),
}

/// What a node offers to those who run agents on it. The deployer may do all; others see status.
pub trait Lifecycle: Send + Sync {
    /// The node itself.
    fn node(&self) -> impl Future<Output = Result<NodeInfo, LifecycleError>> + Send;

    /// Every deployment this node holds, by number.
    fn deployments(
        &self,
        caller: Caller,
    ) -> impl Future<Output = Result<Vec<Status>, LifecycleError>> + Send;

    /// One deployment. [`LifecycleError::Elsewhere`] where another node holds its lease.
    fn status(
        &self,
        caller: Caller,
        deployment: DeploymentId,
    ) -> impl Future<Output = Result<Status, LifecycleError>> + Send;

    /// Log lines in order, at most [`LOG_LINES_MAX`]. With [`LogQuery::follow`] it waits until there is
    /// a line to answer with, or a bounded time: no lines mean "ask again".
    fn logs(
        &self,
        caller: Caller,
        deployment: DeploymentId,
        query: LogQuery,
    ) -> impl Future<Output = Result<Vec<LogLine>, LifecycleError>> + Send;

    /// Puts a recording together, to be fetched part by part for as long as the node keeps it. Turns of one
    /// version: one that another follows ends where that begins.
    fn record(
        &self,
        caller: Caller,
        deployment: DeploymentId,
        query: RecordingQuery,
    ) -> impl Future<Output = Result<RecordingInfo, LifecycleError>> + Send;

    /// Bytes of a recording from an offset on, at most [`RECORDING_PART_MAX`]; none at its end.
    fn recording(
        &self,
        caller: Caller,
        deployment: DeploymentId,
        sha256: &Word,
        part: PartQuery,
    ) -> impl Future<Output = Result<Vec<u8>, LifecycleError>> + Send;

    /// Stops the agent: its stop turn, a final checkpoint, its leaf opened on chain.
    fn stop(
        &self,
        caller: Caller,
        deployment: DeploymentId,
    ) -> impl Future<Output = Result<StopAnswer, LifecycleError>> + Send;

    /// Acts on the version that is pending on chain: verified, started on a copy of the state, and
    /// switched to if it is healthy; otherwise the old one runs on.
    fn update(
        &self,
        caller: Caller,
        deployment: DeploymentId,
    ) -> impl Future<Output = Result<UpdateAnswer, LifecycleError>> + Send;
}
