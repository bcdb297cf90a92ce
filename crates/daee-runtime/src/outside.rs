use daee_policy::Permit;
use daee_transcript::Bodies;
use daee_types::Timestamp;

/// What the door needs from the world beyond the cell. The host owns it: it dials, reads clocks and
/// content, and may block as long as it likes, for the agent's wall time stands still meanwhile.
pub trait Outside: Send {
    /// Fetches what the policy permits. The permit names host and URL; only addresses that it judged
    /// may be dialled. `call` is the idempotency key together with the deployment.
    fn fetch(
        &mut self,
        permit: Permit,
        request: FetchRequest,
        call: CallKey,
    ) -> Result<FetchAnswer, OutsideError>;
    /// Reads verified content, at most `max` bytes of it.
    fn ipfs(&mut self, cid: &str, max: u64) -> Result<Vec<u8>, OutsideError>;
    /// Fills a buffer with randomness.
    fn random(&mut self, out: &mut [u8]);
    /// Reads the clock.
    fn now(&mut self) -> Timestamp;
    /// Is called before anything outside is done, with the turn's transcript up to here and what stands beside
    /// it: whoever promises that intents are never lost makes both durable now. The same bytes come
    /// again in the turn's [`Commit`](crate::Commit); if the process dies before,
    /// [`Agent::interrupted`](crate::Agent::interrupted) takes them up.
    fn before_outside(&mut self, transcript: &[u8], bodies: &Bodies);
}

/// One call of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The turn.
    pub turn: u64,
    /// The call's place in it, from 0.
    pub call: u32,
}

/// What to fetch, beside the URL that the permit holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// As in `GET`.
    pub method: String,
    /// As the agent set them; hop headers are the egress's to refuse.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// At most so many milliseconds; the egress may have a lower limit.
    pub timeout_millis: u64,
    /// Largest body to bring back, in bytes.
    pub body_max: u64,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideError {
    /// The name leads where no agent may go.
    #[error("{0}")]
    Denied(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is larger than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// The network or the other side failed; trying again may help.
    #[error("{0}")]
    Failed(String),
}

/// An outside in which nothing is: no network, no content, a clock that stands where it was set, and
/// the same random bytes each time. For tests and for agents that need none of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing(pub Timestamp);

impl Outside for Nothing {
    fn fetch(
        &mut self,
        permit: Permit,
        _request: FetchRequest,
        _call: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        Err(OutsideError::Failed(format!("there is no way to {}", permit.host())))
    }
    fn ipfs(&mut self, cid: &str, _max: u64) -> Result<Vec<u8>, OutsideError> {
        Err(OutsideError::NotFound(format!("there is no {cid}")))
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x2a);
    }
    fn now(&mut self) -> Timestamp {
        self.0
    }
    fn before_outside(&mut self, _transcript: &[u8], _bodies: &Bodies) {}
}
