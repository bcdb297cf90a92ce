//! What an agent's door reaches beyond its cell: the broker, content, the clock, randomness.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use daee_artifact::Cid;
use daee_egress::{Broker, Egress, EgressError, EgressRequest, Resolver};
use daee_policy::Permit;
use daee_runtime::{CallKey, FetchAnswer, FetchRequest, Outside, OutsideError};
use daee_transcript::Bodies;
use daee_types::{
    ByteSize, DeploymentId, Timestamp, sha256,
    wire::{Reader, Writer},
};
use tokio::runtime::Handle;

use crate::{
    clock,
    content::{Content, ContentError},
};

/// The outside of one agent. Its calls block the agent's own thread and nobody else.
pub(crate) struct AgentOutside {
    pub id: DeploymentId,
    pub egress: Arc<Egress<Resolver>>,
    pub content: Arc<Content>,
    pub runtime: Handle,
    /// Where the transcript of the turn under way is kept before something outside is done; nowhere if the
    /// manifest does not ask for it.
    pub intent: Option<PathBuf>,
}

impl Outside for AgentOutside {
    fn fetch(
        &mut self,
        permit: Permit,
        request: FetchRequest,
        call: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        let mut headers = request.headers;
        // Whoever is asked twice for one thing can tell (DESIGN 5: at least once, with a key).
        let named = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
        let changes = !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
        if changes && !named {
            let key = format!("{}-{}-{}", self.id, call.turn, call.call);
            headers.push(("idempotency-key".to_owned(), key));
        }
        let request = EgressRequest {
            method: request.method,
            headers,
            body: request.body,
            time: Duration::from_millis(request.timeout_millis),
            body_max: ByteSize(request.body_max),
        };
        let exchanged = self.runtime.block_on(self.egress.exchange(self.id, permit, request));
        match exchanged.answer {
            Ok(answer) => Ok(FetchAnswer {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            }),
            Err(error) => {
                let text = error.to_string();
                Err(match error {
                    EgressError::Denied(_) => OutsideError::Denied(text),
                    EgressError::TooLarge(_) => OutsideError::TooLarge(text),
                    _ => OutsideError::Failed(text),
                })
            }
        }
    }

    fn ipfs(&mut self, cid: &str, max: u64) -> Result<Vec<u8>, OutsideError> {
        let cid: Cid = cid
            .strip_prefix("ipfs://")
            .unwrap_or(cid)
            .parse()
            .map_err(|error| OutsideError::NotFound(format!("{cid}: {error}")))?;
        let read = self.runtime.block_on(self.content.block(&cid, ByteSize(max)));
        read.map_err(|error| match error {
            ContentError::TooLarge(text) => OutsideError::TooLarge(text),
            ContentError::NotFound(text) => OutsideError::NotFound(text),
            ContentError::Store(text) => OutsideError::Failed(text),
        })
    }

    fn random(&mut self, out: &mut [u8]) {
        let filled = File::open("/dev/urandom").and_then(|mut source| source.read_exact(out));
        // Going on with bytes that are not random would be worse than ending this agent's thread.
        filled.expect("the kernel's source of randomness can be read");
    }

    fn now(&mut self) -> Timestamp {
        clock::now()
    }

    fn before_outside(&mut self, transcript: &[u8], bodies: &Bodies) {
        let Some(path) = &self.intent else { return };
        let kept = write_intent(path, transcript, bodies);
        if let Err(error) = kept {
            tracing::warn!(deployment = %self.id, %error, "an intent could not be kept");
        }
    }
}

/// Puts what a turn has begun on disk, in place of what the turn before had.
pub(crate) fn write_intent(path: &Path, transcript: &[u8], bodies: &Bodies) -> io::Result<()> {
    let mut out = Writer::new();
    out.bytes(transcript).u32(bodies.len() as u32);
    for (_, body) in bodies {
        out.bytes(body);
    }
    let bytes = out.finish();
    let fresh = !path.exists();
    let mut file = File::create(path)?;
    file.write_all(&sha256(&bytes))?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    match path.parent().filter(|_| fresh) {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// What is there of it. One that is not whole was never acted on.
pub(crate) fn read_intent(path: &Path) -> Option<(Vec<u8>, Bodies)> {
    let bytes = fs::read(path).ok()?;
    let (sum, rest) = bytes.split_first_chunk::<32>()?;
    if sha256(rest) != *sum {
        return None;
    }
    let mut from = Reader::new(rest);
    let transcript = from.bytes().ok()?.to_vec();
    let mut bodies = Bodies::new();
    for _ in 0..from.count(4).ok()? {
        let body = from.bytes().ok()?.to_vec();
        bodies.push((sha256(&body), body));
    }
    from.finish().ok()?;
    Some((transcript, bodies))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("intent");
        assert_eq!(read_intent(&path), None);
        write_intent(&path, b"the turn before, which was longer", &Bodies::new()).unwrap();
        let bodies = vec![(sha256(b"body"), b"body".to_vec())];
        write_intent(&path, b"turn", &bodies).unwrap();
        assert_eq!(read_intent(&path), Some((b"turn".to_vec(), bodies)));
        let bytes = fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            assert_eq!(read_intent(&path), None, "{end}");
        }
    }
}
