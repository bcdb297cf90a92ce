//! What an agent's door reaches beyond its cell: the broker, content, the clock, randomness.

use std::{fs::File, io::Read as _, sync::Arc, time::Duration};

use daee_artifact::Cid;
use daee_egress::{Broker, Egress, EgressError, EgressRequest, Resolver};
use daee_policy::Permit;
use daee_runtime::{CallKey, FetchAnswer, FetchRequest, Outside, OutsideError};
use daee_transcript::Bodies;
use daee_types::{ByteSize, DeploymentId, Timestamp};
use tokio::runtime::Handle;

use crate::{
    clock,
    content::{Content, ContentError},
    intent::IntentFile,
};

/// The outside of one agent. Its calls block the agent's own thread and nobody else.
pub(crate) struct AgentOutside {
    pub id: DeploymentId,
    pub egress: Arc<Egress<Resolver>>,
    pub content: Arc<Content>,
    pub runtime: Handle,
    /// Where the transcript of the turn under way is kept before something outside is done; nowhere if the
    /// manifest does not ask for it.
    pub intent: Option<IntentFile>,
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
        let Some(file) = &mut self.intent else { return };
        if let Err(error) = file.write(transcript, bodies) {
            tracing::warn!(deployment = %self.id, %error, "an intent could not be kept");
        }
    }
}
