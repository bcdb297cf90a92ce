use std::collections::BTreeMap;

use daee_types::{
    Address, Coded, Domain, Fault, Sign, SignError, Signature, Timestamp, Word, keccak256,
};
use serde::{Deserialize, Serialize};

/// Carries a [`SignedSession`].
pub const SESSION_HEADER: &str = "daee-session";
/// Carries the signature over one request.
pub const REQUEST_HEADER: &str = "daee-request";
/// Longest life of a session in milliseconds: a lost session key is worth little.
pub const SESSION_MILLIS_MAX: u64 = 60 * 60 * 1000;
/// How far a request's time may be from the node's, either way, in milliseconds.
pub const REQUEST_WINDOW_MILLIS: u64 = 60 * 1000;
/// Longest nonce in bytes.
pub const NONCE_MAX: usize = 64;
/// Longest body in bytes that a signed request may carry: it is hashed before it is let in.
pub const BODY_SIGNED_MAX: usize = 64 << 10;

/// Longest header value that is read at all, in bytes.
const HEADER_MAX: usize = 1024;
/// Requests of one wallet that are remembered; more within the window are turned away.
const REMEMBERED_EACH: usize = 1024;
/// Requests of all wallets that are remembered.
const REMEMBERED_MAX: usize = 65_536;

/// Recovers the account that signed a digest; comes from whoever has the curve.
pub type Recover = fn(&Word, &Signature) -> Option<Address>;

/// What a wallet signs once: this key may speak for me, to this node, until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The deployer's account.
    pub wallet: Address,
    /// The key that signs requests.
    pub key: Address,
    /// Operator account of the node; no other accepts it.
    pub node: Address,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: u64,
}

impl Session {
    /// The EIP-712 type.
    pub const TYPE: &'static str =
        "Session(address wallet,address key,address node,uint64 expires)";

    /// A session that ends at `expires`, rounded down to the second.
    pub fn new(wallet: Address, key: Address, node: Address, expires: Timestamp) -> Self {
        Self { wallet, key, node, expires: expires.seconds() }
    }

    /// The EIP-712 struct hash.
    pub fn struct_hash(&self) -> Word {
        let mut input = Vec::with_capacity(5 * 32);
        input.extend(keccak256(Self::TYPE));
        input.extend(self.wallet.to_word());
        input.extend(self.key.to_word());
        input.extend(self.node.to_word());
        input.extend(word_of(self.expires));
        keccak256(input)
    }

    /// Signs it with the wallet.
    pub fn sign(self, domain: &Domain, wallet: &dyn Sign) -> Result<SignedSession, SignError> {
        let signature = wallet.sign(&domain.digest(&self.struct_hash()))?;
        Ok(SignedSession { session: self, signature })
    }
}

/// A session with its wallet's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSession {
    /// What was signed.
    #[serde(flatten)]
    pub session: Session,
    /// The wallet's signature.
    pub signature: Signature,
}

impl SignedSession {
    /// Values of [`SESSION_HEADER`] and [`REQUEST_HEADER`] for one request. `target` is path and query as
    /// the request line has them, `nonce` anything not used before within [`REQUEST_WINDOW_MILLIS`].
    #[expect(clippy::too_many_arguments, reason = "a request is what all of these together are")]
    pub fn headers(
        &self,
        domain: &Domain,
        key: &dyn Sign,
        method: &str,
        target: &str,
        body: &[u8],
        now: Timestamp,
        nonce: &str,
    ) -> Result<[String; 2], SignError> {
        let digest = request_digest(domain, &self.session, method, target, body, now, nonce);
        let proof = Proof { at: now, nonce: nonce.to_owned(), signature: key.sign(&digest)? };
        Ok([json(self), json(&proof)])
    }
}

/// The second header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    at: Timestamp,
    nonce: String,
    signature: Signature,
}

/// What a session key signs for one request: EIP-712 of
/// `Request(bytes32 session,string method,string target,bytes body,uint64 at,string nonce)`.
pub fn request_digest(
    domain: &Domain,
    session: &Session,
    method: &str,
    target: &str,
    body: &[u8],
    at: Timestamp,
    nonce: &str,
) -> Word {
    let mut input = Vec::with_capacity(7 * 32);
    input.extend(keccak256(
        "Request(bytes32 session,string method,string target,bytes body,uint64 at,string nonce)",
    ));
    input.extend(session.struct_hash());
    input.extend(keccak256(method));
    input.extend(keccak256(target));
    input.extend(keccak256(body));
    input.extend(word_of(at.0));
    input.extend(keccak256(nonce));
    domain.digest(&keccak256(input))
}

/// Why a signed request was turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A header is missing or cannot be read.
    #[error("the header {header} cannot be read: {why}")]
    Malformed {
        /// Which.
        header: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Signed for another node.
    #[error("the session is for node {wanted}, this is {node}: sign in here")]
    OtherNode {
        /// Whom it is for.
        wanted: Address,
        /// This node.
        node: Address,
    },
    /// Over, or too long.
    #[error(
        "the session ended or lives for more than an hour: sign in again (clocks may differ, \
         the node's is at {now})"
    )]
    Expired {
        /// The node's time in seconds since the Unix epoch.
        now: u64,
    },
    /// A signature is not by whom it says.
    #[error("the signature of the {of} is not valid for this chain, node and request")]
    Signature {
        /// session or request.
        of: &'static str,
    },
    /// Made too long ago, or in the future.
    #[error("the request is from another time: set the clock (the node's is at {now} ms)")]
    Stale {
        /// The node's time in milliseconds since the Unix epoch.
        now: u64,
    },
    /// Seen before.
    #[error("this request was made before: sign it again with a new nonce")]
    Replayed,
    /// More requests than are remembered.
    #[error("too many signed requests within a minute: wait and send it again")]
    Busy,
}

impl Coded for SessionError {
    fn code(&self) -> &'static str {
        match self {
            SessionError::Malformed { .. } => "DAEE-L020",
            SessionError::OtherNode { .. } => "DAEE-L021",
            SessionError::Expired { .. } => "DAEE-L022",
            SessionError::Signature { .. } => "DAEE-L023",
            SessionError::Stale { .. } => "DAEE-L024",
            SessionError::Replayed => "DAEE-L025",
            SessionError::Busy => "DAEE-L026",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            SessionError::Busy => Fault::Network,
            _ => Fault::Developer,
        }
    }
}

impl SessionError {
    /// The HTTP status it travels with.
    pub fn http_status(&self) -> u16 {
        match self {
            SessionError::Malformed { .. } => 400,
            SessionError::Busy => 429,
            _ => 401,
        }
    }
}

/// Lets signed requests in, each once.
#[derive(Debug)]
pub struct Gate {
    domain: Domain,
    node: Address,
    recover: Recover,
    // By wallet, then by request; the value is when it may be forgotten.
    seen: BTreeMap<Address, BTreeMap<Word, Timestamp>>,
    seen_count: usize,
}

impl Gate {
    /// For this node on this market.
    pub fn new(domain: Domain, node: Address, recover: Recover) -> Self {
        Self { domain, node, recover, seen: BTreeMap::new(), seen_count: 0 }
    }

    /// The wallet that makes this request. `session` and `request` are the values of the two headers;
    /// `target` is path and query as they came.
    pub fn admit(
        &mut self,
        now: Timestamp,
        session: &str,
        request: &str,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<Address, SessionError> {
        let signed: SignedSession = read(SESSION_HEADER, session)?;
        let proof: Proof = read(REQUEST_HEADER, request)?;
        let malformed = |header, why: &str| SessionError::Malformed { header, why: why.to_owned() };
        if proof.nonce.is_empty() || proof.nonce.len() > NONCE_MAX {
            return Err(malformed(REQUEST_HEADER, "the nonce has 1 to 64 bytes"));
        }
        if body.len() > BODY_SIGNED_MAX {
            return Err(malformed(REQUEST_HEADER, "the body is larger than a signed one may be"));
        }
        let Session { wallet, key, node, expires } = signed.session;
        if node != self.node {
            return Err(SessionError::OtherNode { wanted: node, node: self.node });
        }
        let ends = expires.saturating_mul(1000);
        let latest = now.plus_millis(SESSION_MILLIS_MAX + REQUEST_WINDOW_MILLIS);
        if ends <= now.0 || ends > latest.0 {
            return Err(SessionError::Expired { now: now.seconds() });
        }
        if proof.at.0.abs_diff(now.0) > REQUEST_WINDOW_MILLIS {
            return Err(SessionError::Stale { now: now.0 });
        }

        let session_digest = self.domain.digest(&signed.session.struct_hash());
        if !self.signed_by(wallet, &session_digest, &signed.signature) {
            return Err(SessionError::Signature { of: "session" });
        }
        let digest = request_digest(
            &self.domain,
            &signed.session,
            method,
            target,
            body,
            proof.at,
            &proof.nonce,
        );
        if !self.signed_by(key, &digest, &proof.signature) {
            return Err(SessionError::Signature { of: "request" });
        }
        // Remembered only now: whoever cannot sign can neither fill the memory nor use up a nonce.
        self.remember(now, wallet, digest, proof.at)?;
        Ok(wallet)
    }

    fn signed_by(&self, who: Address, digest: &Word, signature: &Signature) -> bool {
        // Some curves' recovery answers the zero address for what is no signature.
        !who.is_zero() && (self.recover)(digest, signature) == Some(who)
    }

    fn remember(
        &mut self,
        now: Timestamp,
        wallet: Address,
        digest: Word,
        at: Timestamp,
    ) -> Result<(), SessionError> {
        // Kept by digest, not by nonce and signature: a signature has more than one valid form.
        if self.seen.get(&wallet).is_some_and(|seen| seen.contains_key(&digest)) {
            return Err(SessionError::Replayed);
        }
        let mine = self.seen.get(&wallet).map_or(0, BTreeMap::len);
        if mine >= REMEMBERED_EACH || self.seen_count >= REMEMBERED_MAX {
            self.forget(now);
        }
        let mine = self.seen.get(&wallet).map_or(0, BTreeMap::len);
        if mine >= REMEMBERED_EACH || self.seen_count >= REMEMBERED_MAX {
            return Err(SessionError::Busy);
        }
        let until = at.plus_millis(REQUEST_WINDOW_MILLIS);
        self.seen.entry(wallet).or_default().insert(digest, until);
        self.seen_count += 1;
        Ok(())
    }

    /// Forgets what would be refused as stale anyway.
    fn forget(&mut self, now: Timestamp) {
        self.seen.retain(|_, seen| {
            seen.retain(|_, until| *until >= now);
            !seen.is_empty()
        });
        self.seen_count = self.seen.values().map(BTreeMap::len).sum();
    }
}

fn read<T: serde::de::DeserializeOwned>(
    header: &'static str,
    value: &str,
) -> Result<T, SessionError> {
    if value.len() > HEADER_MAX {
        return Err(SessionError::Malformed { header, why: "it is too long".to_owned() });
    }
    serde_json::from_str(value)
        .map_err(|error| SessionError::Malformed { header, why: error.to_string() })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values have a JSON form")
}

fn word_of(n: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&n.to_be_bytes());
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const NODE: Address = Address([9; 20]);
    const DOMAIN: Domain = Domain { chain_id: 31337, manager: Address([8; 20]) };

    /// Signs by writing its own address beside the digest: enough to tell who signed what.
    struct Key(Address);

    impl Sign for Key {
        fn address(&self) -> Address {
            self.0
        }
        fn sign(&self, digest: &Word) -> Result<Signature, SignError> {
            let mut bytes = [0; 65];
            bytes[..20].copy_from_slice(&self.0.0);
            bytes[20..52].copy_from_slice(digest);
            Ok(Signature(bytes))
        }
    }

    fn recover(digest: &Word, signature: &Signature) -> Option<Address> {
        let address = Address(signature.0[..20].try_into().unwrap());
        (signature.0[20..52] == digest[..]).then_some(address)
    }

    fn wallet() -> Key {
        Key(Address([1; 20]))
    }

    fn key() -> Key {
        Key(Address([2; 20]))
    }

    fn session() -> Session {
        Session::new(wallet().0, key().0, NODE, NOW.plus_millis(600_000))
    }

    fn gate() -> Gate {
        Gate::new(DOMAIN, NODE, recover)
    }

    fn headers(nonce: &str) -> [String; 2] {
        let signed = session().sign(&DOMAIN, &wallet()).unwrap();
        signed.headers(&DOMAIN, &key(), "POST", "/v1/x", b"body", NOW, nonce).unwrap()
    }

    fn check(gate: &mut Gate, now: Timestamp, headers: &[String; 2], want: Result<(), &str>) {
        let got = gate.admit(now, &headers[0], &headers[1], "POST", "/v1/x", b"body");
        match want {
            Ok(()) => assert_eq!(got, Ok(wallet().0)),
            Err(code) => assert_eq!(got.map_err(|error| error.code()), Err(code)),
        }
    }

    #[test]
    fn a_request_is_let_in_once() {
        let mut gate = gate();
        check(&mut gate, NOW, &headers("a"), Ok(()));
        check(&mut gate, NOW, &headers("b"), Ok(()));
        check(&mut gate, NOW, &headers("a"), Err("DAEE-L025"));
        let later = NOW.plus_millis(REQUEST_WINDOW_MILLIS);
        check(&mut gate, later, &headers("a"), Err("DAEE-L025"));
        check(&mut gate, later.plus_millis(1), &headers("a"), Err("DAEE-L024"));
    }

    #[test]
    fn a_signature_for_one_request_is_good_for_no_other() {
        let [session, request] = headers("a");
        for (method, target, body) in [
            ("GET", "/v1/x", &b"body"[..]),
            ("POST", "/v1/y", b"body"),
            ("POST", "/v1/x?all=1", b"body"),
            ("POST", "/v1/x", b"other"),
        ] {
            let refused = gate().admit(NOW, &session, &request, method, target, body);
            assert_eq!(
                refused,
                Err(SessionError::Signature { of: "request" }),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn a_session_is_for_one_node_one_chain_and_a_short_time() {
        let at = |session: Session, domain: &Domain| {
            let signed = session.sign(domain, &wallet()).unwrap();
            signed.headers(domain, &key(), "POST", "/v1/x", b"body", NOW, "a").unwrap()
        };
        let other = Session { node: Address([7; 20]), ..session() };
        check(&mut gate(), NOW, &at(other, &DOMAIN), Err("DAEE-L021"));
        let mainnet = Domain { chain_id: 1, ..DOMAIN };
        check(&mut gate(), NOW, &at(session(), &mainnet), Err("DAEE-L023"));
        for expires in [0, NOW.seconds(), NOW.seconds() + 3700, u64::MAX] {
            let wrong = Session { expires, ..session() };
            check(&mut gate(), NOW, &at(wrong, &DOMAIN), Err("DAEE-L022"));
        }
    }

    #[test]
    fn only_the_named_key_may_sign_and_only_the_wallet_may_name_it() {
        let thief = Key(Address([6; 20]));
        let signed = session().sign(&DOMAIN, &wallet()).unwrap();
        let stolen = signed.headers(&DOMAIN, &thief, "POST", "/v1/x", b"body", NOW, "a").unwrap();
        check(&mut gate(), NOW, &stolen, Err("DAEE-L023"));
        let forged = session().sign(&DOMAIN, &thief).unwrap();
        let forged = forged.headers(&DOMAIN, &key(), "POST", "/v1/x", b"body", NOW, "a").unwrap();
        check(&mut gate(), NOW, &forged, Err("DAEE-L023"));
    }

    #[test]
    fn the_zero_address_signs_nothing() {
        fn zero(_: &Word, _: &Signature) -> Option<Address> {
            Some(Address::ZERO)
        }
        let nobody = Session { wallet: Address::ZERO, key: Address::ZERO, ..session() };
        let signed = nobody.sign(&DOMAIN, &wallet()).unwrap();
        let headers = signed.headers(&DOMAIN, &key(), "POST", "/v1/x", b"body", NOW, "a").unwrap();
        check(&mut Gate::new(DOMAIN, NODE, zero), NOW, &headers, Err("DAEE-L023"));
    }

    #[test]
    fn headers_that_are_no_headers_are_named() {
        let [session, request] = headers("a");
        for (session, request, which) in [
            ("", request.as_str(), SESSION_HEADER),
            ("{}", &request, SESSION_HEADER),
            (&"x".repeat(HEADER_MAX + 1), &request, SESSION_HEADER),
            (&session, "", REQUEST_HEADER),
            (&session, "[1]", REQUEST_HEADER),
        ] {
            let error = gate().admit(NOW, session, request, "POST", "/v1/x", b"body").unwrap_err();
            assert!(
                matches!(&error, SessionError::Malformed { header, .. } if *header == which),
                "{error}"
            );
        }
    }

    #[test]
    fn one_wallet_cannot_fill_the_memory_and_time_empties_it() {
        let mut gate = gate();
        for n in 0..REMEMBERED_EACH {
            check(&mut gate, NOW, &headers(&n.to_string()), Ok(()));
        }
        check(&mut gate, NOW, &headers("more"), Err("DAEE-L026"));
        let other = Key(Address([5; 20]));
        let theirs = Session { wallet: other.0, ..session() }.sign(&DOMAIN, &other).unwrap();
        let [session, request] =
            theirs.headers(&DOMAIN, &key(), "POST", "/v1/x", b"body", NOW, "a").unwrap();
        assert_eq!(gate.admit(NOW, &session, &request, "POST", "/v1/x", b"body"), Ok(other.0));

        let later = NOW.plus_millis(REQUEST_WINDOW_MILLIS + 1);
        let signed = self::session().sign(&DOMAIN, &wallet()).unwrap();
        let fresh =
            signed.headers(&DOMAIN, &key(), "POST", "/v1/x", b"body", later, "new").unwrap();
        check(&mut gate, later, &fresh, Ok(()));
        assert_eq!(gate.seen_count, 1, "what is stale was forgotten");
    }
}
