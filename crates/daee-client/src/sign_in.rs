use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use daee_lifecycle::{Session, SignedSession};
use daee_signer::Key;
use daee_types::{Address, Domain, Sign, SignError};

use crate::clock;

/// Life of a session in milliseconds: long enough for a sitting, short for whoever finds its key.
const SESSION_MILLIS: u64 = 10 * 60 * 1000;
/// A session this near to its end is not used any more: clocks differ.
const RENEW_MILLIS: u64 = 2 * 60 * 1000;

/// Speaks for a wallet to one node: the wallet signs once for a key that lives here, the key signs
/// each request.
pub(crate) struct SignIn {
    wallet: Arc<dyn Sign>,
    domain: Domain,
    node: Address,
    session: Mutex<Option<Open>>,
    requests: AtomicU64,
}

#[derive(Clone)]
struct Open {
    key: Arc<Key>,
    session: SignedSession,
}

impl SignIn {
    /// For the node with this operator account on this market. Nothing is signed yet.
    pub(crate) fn new(wallet: Arc<dyn Sign>, domain: Domain, node: Address) -> Self {
        Self { wallet, domain, node, session: Mutex::new(None), requests: AtomicU64::new(0) }
    }

    pub(crate) fn domain(&self) -> &Domain {
        &self.domain
    }

    pub(crate) fn node(&self) -> Address {
        self.node
    }

    /// The two headers for one request.
    pub(crate) fn headers(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<[String; 2], SignError> {
        let Open { key, session } = self.open()?;
        // The digest covers the session, whose key is new: counting is enough.
        let nonce = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        session.headers(&self.domain, &*key, method, target, body, clock::now(), &nonce)
    }

    fn open(&self) -> Result<Open, SignError> {
        let now = clock::now();
        let mut open = self.session.lock().expect("nobody panics with it");
        if let Some(open) = &*open
            && open.session.session.expires.saturating_mul(1000) > now.0 + RENEW_MILLIS
        {
            return Ok(open.clone());
        }
        let key = Arc::new(Key::generate());
        let expires = now.plus_millis(SESSION_MILLIS);
        let session = Session::new(self.wallet.address(), key.address(), self.node, expires);
        let session = session.sign(&self.domain, &*self.wallet)?;
        Ok(open.insert(Open { key, session }).clone())
    }
}
