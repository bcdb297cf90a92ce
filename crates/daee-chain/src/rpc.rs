//! JSON-RPC over several endpoints. Every request may be repeated: reads change nothing, and a signed
//! transaction is the same however often it is sent.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U128};
use daee_http::{Client, HttpError, Limits, Roots};
use daee_types::ByteSize;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::ChainError;

/// How often every endpoint is tried, with a pause that doubles in between.
const ROUNDS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LIMITS: Limits = Limits {
    connect_time: Duration::from_secs(5),
    total_time: Duration::from_secs(20),
    idle_time: Duration::from_secs(10),
    head_bytes_max: 32 << 10,
    body_bytes_max: ByteSize::mib(32),
};

pub(crate) struct Rpc {
    endpoints: Vec<Endpoint>,
    client: Client,
    /// The endpoint that answered last.
    current: AtomicUsize,
    requests: AtomicU64,
    chain_id: u64,
}

struct Endpoint {
    url: String,
    /// It was asked for its chain id, and has the right one.
    known: AtomicBool,
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub(crate) enum RpcError {
    /// No endpoint gave an answer that can be read. `sent` when one of them may have got the request.
    Silent { sent: bool, why: String },
    /// An endpoint says no.
    Answered { code: i64, message: String, data: Option<Bytes> },
    /// The result is of another shape.
    Malformed(String),
}

impl RpcError {
    /// As an error of something that only reads.
    pub(crate) fn reading(self, what: &'static str) -> ChainError {
        match self {
            RpcError::Silent { why, .. } => ChainError::Unreachable(why),
            RpcError::Answered { message, .. } => ChainError::Refused { what, message },
            RpcError::Malformed(why) => ChainError::Malformed { what, why },
        }
    }
}

impl Rpc {
    /// Asks every endpoint for its chain; those that are silent now are asked when they are first needed.
    pub(crate) async fn connect(urls: &[String]) -> Result<Self, ChainError> {
        for url in urls {
            let read = url::Url::parse(url).map_err(|_| ChainError::Endpoint(shown(url)))?;
            if !matches!(read.scheme(), "http" | "https") || read.host().is_none() {
                return Err(ChainError::Endpoint(shown(url)));
            }
        }
        let plain = urls.iter().all(|url| url.starts_with("http:"));
        let roots = if plain { Roots::none() } else { Roots::system() };
        let client =
            Client::new(&roots).map_err(|error| ChainError::Unreachable(error.to_string()))?;
        let endpoint = |url: &String| Endpoint { url: url.clone(), known: AtomicBool::new(false) };
        let mut rpc = Self {
            endpoints: urls.iter().map(endpoint).collect(),
            client,
            current: AtomicUsize::new(0),
            requests: AtomicU64::new(1),
            chain_id: 0,
        };
        rpc.chain_id = rpc.agreed_chain().await?;
        Ok(rpc)
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The result of a method, from the first endpoint that gives one.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, RpcError> {
        let body = self.request(method, &params);
        let (mut sent, mut why) = (false, "none is configured".to_owned());
        let mut pause = FIRST_PAUSE;
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let start = self.current.load(Relaxed);
            for step in 0..self.endpoints.len() {
                let at = (start + step) % self.endpoints.len();
                match self.ask_one(&self.endpoints[at], &body).await {
                    Ok(result) => {
                        self.current.store(at, Relaxed);
                        return serde_json::from_value(result)
                            .map_err(|error| RpcError::Malformed(error.to_string()));
                    }
                    Err(RpcError::Silent { sent: this, why: reason }) => {
                        tracing::debug!(method, reason, "an endpoint of the chain gives no answer");
                        sent |= this;
                        why = reason;
                    }
                    Err(answered) => {
                        self.current.store(at, Relaxed);
                        return Err(answered);
                    }
                }
            }
        }
        Err(RpcError::Silent { sent, why })
    }

    async fn ask_one(&self, endpoint: &Endpoint, body: &[u8]) -> Result<Value, RpcError> {
        if !endpoint.known.load(Relaxed) {
            let found = self.chain_of(endpoint).await?;
            if found != self.chain_id {
                let why = format!("{} serves chain {found}", shown(&endpoint.url));
                return Err(RpcError::Silent { sent: false, why });
            }
            endpoint.known.store(true, Relaxed);
        }
        self.exchange(endpoint, body).await
    }

    async fn chain_of(&self, endpoint: &Endpoint) -> Result<u64, RpcError> {
        let body = self.request("eth_chainId", &json!([]));
        let silent = |why: String| RpcError::Silent { sent: false, why };
        let result = self.exchange(endpoint, &body).await.map_err(|error| match error {
            RpcError::Silent { why, .. } | RpcError::Malformed(why) => silent(why),
            RpcError::Answered { message, .. } => silent(message),
        })?;
        let id: U64 = serde_json::from_value(result).map_err(|error| silent(error.to_string()))?;
        Ok(id.to())
    }

    async fn agreed_chain(&self) -> Result<u64, ChainError> {
        let (mut agreed, mut why) = (None, "none is configured".to_owned());
        for endpoint in &self.endpoints {
            match self.chain_of(endpoint).await {
                Ok(found) => {
                    let expected = *agreed.get_or_insert(found);
                    if expected != found {
                        let endpoint = shown(&endpoint.url);
                        return Err(ChainError::WrongChain { endpoint, expected, found });
                    }
                    endpoint.known.store(true, Relaxed);
                }
                Err(RpcError::Silent { why: reason, .. } | RpcError::Malformed(reason)) => {
                    why = reason;
                }
                Err(RpcError::Answered { message, .. }) => why = message,
            }
        }
        agreed.ok_or(ChainError::Unreachable(why))
    }

    async fn exchange(&self, endpoint: &Endpoint, body: &[u8]) -> Result<Value, RpcError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            result: Value,
            error: Option<Refusal>,
        }
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            code: i64,
            #[serde(default)]
            message: String,
            #[serde(default)]
            data: Value,
        }
        let host = shown(&endpoint.url);
        let silent = |sent, why: String| RpcError::Silent { sent, why: format!("{host}: {why}") };
        let body = daee_http::Bytes::copy_from_slice(body);
        let answer = self
            .client
            .post(&endpoint.url, "application/json", body, &LIMITS)
            .await
            .map_err(|error| silent(may_have_arrived(&error), error.to_string()))?;
        let Ok(read) = serde_json::from_slice::<Answer>(&answer.body) else {
            return Err(silent(true, format!("it answers with HTTP status {}", answer.status)));
        };
        match read.error {
            None => Ok(read.result),
            // Over its limit or not ready: another may be.
            Some(refusal)
                if answer.status == 429 || answer.status == 503 || refusal.code == -32005 =>
            {
                Err(silent(false, refusal.message))
            }
            Some(refusal) => {
                let data = revert_data(&refusal.data, &refusal.message);
                Err(RpcError::Answered { code: refusal.code, message: refusal.message, data })
            }
        }
    }

    fn request(&self, method: &str, params: &Value) -> Vec<u8> {
        let id = self.requests.fetch_add(1, Relaxed);
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
            .to_string()
            .into_bytes()
    }
}

/// A block, as far as we look.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Block {
    pub(crate) number: U64,
    pub(crate) hash: B256,
    pub(crate) timestamp: U64,
    pub(crate) base_fee_per_gas: Option<U128>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) transaction_hash: B256,
    pub(crate) block_hash: B256,
    pub(crate) block_number: U64,
    pub(crate) gas_used: U64,
    pub(crate) contract_address: Option<Address>,
    pub(crate) status: U64,
    #[serde(default)]
    pub(crate) logs: Vec<Log>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Log {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    pub(crate) block_number: U64,
    pub(crate) block_hash: B256,
    pub(crate) transaction_hash: B256,
    pub(crate) log_index: U64,
}

/// A URL without what may be a secret in its path or query.
fn shown(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(read) if read.host().is_some() => read.origin().ascii_serialization(),
        _ => url.chars().take(80).collect(),
    }
}

/// Whether a request that failed like this may have reached the other side.
fn may_have_arrived(error: &HttpError) -> bool {
    !matches!(
        error,
        HttpError::Url(_)
            | HttpError::Request(_)
            | HttpError::Resolve(_)
            | HttpError::Connect { .. }
            | HttpError::Tls { .. }
    )
}

/// What a contract reverted with, which endpoints put in different places.
fn revert_data(data: &Value, message: &str) -> Option<Bytes> {
    let direct = |value: &Value| value.as_str().and_then(|text| text.parse::<Bytes>().ok());
    direct(data)
        .or_else(|| direct(&data["data"]))
        .or_else(|| direct(&data["result"]))
        .or_else(|| message.split_whitespace().find(|word| word.starts_with("0x"))?.parse().ok())
        .filter(|data| !data.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revert_data_is_found_wherever_an_endpoint_puts_it() {
        let expected: Bytes = "0x30cd7471".parse().unwrap();
        for data in
            [json!("0x30cd7471"), json!({"data": "0x30cd7471"}), json!({"result": "0x30cd7471"})]
        {
            assert_eq!(revert_data(&data, "execution reverted"), Some(expected.clone()));
        }
        assert_eq!(revert_data(&Value::Null, "reverted with 0x30cd7471"), Some(expected));
        for data in [json!("0x"), json!("words"), json!(7), Value::Null] {
            assert_eq!(revert_data(&data, "execution reverted"), None);
        }
    }

    #[test]
    fn a_key_in_an_endpoints_path_is_never_shown() {
        assert_eq!(shown("https://rpc.example/v3/secret?key=secret"), "https://rpc.example");
    }
}
