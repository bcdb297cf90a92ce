//! The nodes of a development network, each a process of its own: the one place here that starts any.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::failure::Failure;

/// How long a node may take to be up.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long a node may take to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A running node. When this program ends, however it ends, the node's standard input closes and it ends too.
pub struct NodeProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    name: String,
    log: PathBuf,
}

impl NodeProcess {
    /// Starts `daee-node run`; what it logs goes to `log`.
    #[expect(clippy::disallowed_methods, reason = "the nodes of a development network start here")]
    pub async fn start(name: &str, config: &Path, key: &Path, log: &Path) -> Result<Self, Failure> {
        let what = format!("{name} does not start");
        let failed = |error: std::io::Error| Failure::new(&what, error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args(["run", "--json", "--until-stdin-closes", "--config"])
            .arg(config)
            .arg("--key")
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).map_err(failed)?)
            // Ctrl-C at a terminal is for this program, which ends its nodes in their order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut node = Self { child, stdin, name: name.to_owned(), log: log.to_owned() };
        let mut line = String::new();
        let heard = timeout(UP_WITHIN, BufReader::new(stdout).read_line(&mut line)).await;
        let up = matches!(heard, Ok(Ok(read)) if read > 0)
            && serde_json::from_str::<Value>(&line).is_ok();
        if !up {
            node.child.start_kill().ok();
            return Err(Failure::new(&what, node.last_words()));
        }
        Ok(node)
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits for it to end, and says how it did.
    pub async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => {
                format!("{} ended ({status}); its log is {}", self.name, self.log.display())
            }
            Err(error) => format!("{} cannot be watched: {error}", self.name),
        }
    }

    /// Has it end, and ends it if it does not.
    pub async fn end(mut self) {
        drop(self.stdin.take());
        if timeout(END_WITHIN, self.child.wait()).await.is_err() {
            tracing::warn!(node = self.name, "did not end in time and is killed");
            // An error says that it has just ended.
            self.child.kill().await.ok();
        }
    }

    /// The end of its log: where a program says why it gave up.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        match lines.is_empty() {
            true => format!("it said nothing; its log is {}", self.log.display()),
            false => lines.into_iter().rev().collect::<Vec<_>>().join("\n  "),
        }
    }
}
