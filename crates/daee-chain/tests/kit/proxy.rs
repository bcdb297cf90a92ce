//! Stands between a client and a chain, and loses what it is told to lose.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What becomes of a request.
#[derive(Clone)]
pub enum Fate {
    Pass,
    /// The connection breaks before the chain hears of it.
    LoseRequest,
    /// The chain did it, and the connection breaks before the answer.
    LoseAnswer,
    /// Waits for the second before it goes on; the first tells that it waits.
    Hold(Arc<Notify>, Arc<Notify>),
    /// The chain is asked for this block instead.
    AskInstead(u64),
    /// Somebody else answers, as if it had been done.
    Pretend,
    /// Somebody else answers, with this error.
    Refuse(&'static str),
}

type Judge = dyn Fn(&Value) -> Fate + Send + Sync;

pub struct Proxy {
    url: String,
    judge: Arc<Mutex<Arc<Judge>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
        let judge: Arc<Mutex<Arc<Judge>>> = Arc::new(Mutex::new(Arc::new(|_: &Value| Fate::Pass)));
        let judges = judge.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, judges) = (upstream.clone(), judges.clone());
                tokio::spawn(async move {
                    let _ = serve(client, &upstream, &judges).await;
                });
            }
        });
        Self { url, judge, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on each request, as JSON, is judged by this.
    pub fn judge(&self, judge: impl Fn(&Value) -> Fate + Send + Sync + 'static) {
        *self.judge.lock().unwrap() = Arc::new(judge);
    }

    /// The next requests of a method meet these fates, all others pass.
    pub fn next(&self, method: &'static str, fates: impl IntoIterator<Item = Fate>) {
        let fates = Mutex::new(fates.into_iter().collect::<VecDeque<_>>());
        self.judge(move |request| match request["method"] == method {
            true => fates.lock().unwrap().pop_front().unwrap_or(Fate::Pass),
            false => Fate::Pass,
        });
    }

    /// From the next request of a method on, which meets this fate, nothing gets through.
    pub fn down_from(&self, method: &'static str, first: Fate) {
        let begun = Mutex::new(false);
        self.judge(move |request| {
            let mut begun = begun.lock().unwrap();
            if *begun {
                return Fate::LoseRequest;
            }
            *begun = request["method"] == method;
            if *begun { first.clone() } else { Fate::Pass }
        });
    }

    pub fn up(&self) {
        self.judge(|_| Fate::Pass);
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: &str,
    judge: &Mutex<Arc<Judge>>,
) -> std::io::Result<()> {
    let request = read_request(&mut client).await?;
    let at = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let json = serde_json::from_slice(&request[at..]).unwrap_or_default();
    let judge = judge.lock().unwrap().clone();
    let fate = judge(&json);
    let mut request = request;
    match &fate {
        Fate::LoseRequest => return Ok(()),
        Fate::Hold(waiting, go) => {
            waiting.notify_one();
            go.notified().await;
        }
        Fate::Refuse(error) => {
            return answer(&mut client, &json["id"], "error", error).await;
        }
        Fate::Pretend => {
            return answer(&mut client, &json["id"], "result", r#""0x00""#).await;
        }
        Fate::AskInstead(number) => {
            let mut other = json.clone();
            other["params"][0] = format!("0x{number:x}").into();
            request = post(&other.to_string());
        }
        Fate::Pass | Fate::LoseAnswer => {}
    }
    let mut chain = TcpStream::connect(upstream).await?;
    chain.write_all(&request).await?;
    let mut answer = Vec::new();
    chain.read_to_end(&mut answer).await?;
    if let Fate::LoseAnswer = fate {
        return Ok(());
    }
    client.write_all(&answer).await
}

async fn answer(client: &mut TcpStream, id: &Value, what: &str, it: &str) -> std::io::Result<()> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"{what}":{it}}}"#);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    client.write_all(format!("{head}{body}").as_bytes()).await
}

fn post(body: &str) -> Vec<u8> {
    let head =
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        let got = client.read(&mut piece).await?;
        if got == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend(&piece[..got]);
        let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        if request.len() >= head + 4 + length {
            return Ok(request);
        }
    }
}
