//! Processes that are jailed and empty, for the next agents to move into.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use daee_types::ByteSize;

use crate::StartError;
use crate::protocol::{FromCell, Link};
use crate::runtime::Cells;
use crate::spawn::{self, Child, Role, Start};

/// How long a new cell may take until it is ready.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long the next cell waits, so that it does not come in the way of the agent that took its place: making a
/// process stops the memory of this one.
const AFTER: Duration = Duration::from_millis(20);

/// How often a cell is started until it is left to the next agent that takes one.
const TRIES: usize = 3;

/// A cell that nothing is in yet.
#[derive(Debug)]
pub(crate) struct Empty {
    pub(crate) link: Link,
    pub(crate) child: Child,
}

impl Empty {
    pub(crate) fn start(cells: &Cells) -> Result<Self, StartError> {
        let node = |error: std::io::Error| StartError::Cell(error.to_string());
        let (here, there) = UnixStream::pair().map_err(node)?;
        let mut link = Link::new(here, ByteSize(0));
        let mut child = spawn::start(Start {
            executable: cells.executable.try_clone().map_err(node)?,
            role: Role::Cell,
            link: there.into(),
            input: None,
            namespaces: cells.namespaces,
        })
        .map_err(node)?;
        match link.hear_cell(&mut READY_WITHIN.clone()) {
            Ok(FromCell::Jailed(walls)) if cells.as_good(walls) => Ok(Self { link, child }),
            Ok(FromCell::Jailed(_)) => {
                Err(StartError::Cell("fewer walls stand than when the node started".into()))
            }
            _ => Err(StartError::Cell(child.end())),
        }
    }
}

/// Empty cells, some ready and some on their way.
#[derive(Debug)]
pub(crate) struct Warm {
    cells: Arc<Cells>,
    wanted: usize,
    stock: Arc<Mutex<Stock>>,
}

#[derive(Debug, Default)]
struct Stock {
    ready: Vec<Empty>,
    coming: usize,
    /// Nobody wants them any more.
    closed: bool,
}

impl Warm {
    /// Begins to fill a stock of so many.
    pub(crate) fn new(cells: Arc<Cells>, wanted: usize) -> Self {
        let warm = Self { cells, wanted, stock: Arc::default() };
        warm.refill(Duration::ZERO);
        warm
    }

    /// One that lives, if there is one, and orders others for those that are gone.
    pub(crate) fn take(&self) -> Option<Empty> {
        let mut taken = lock(&self.stock).ready.pop();
        while let Some(cell) = &mut taken
            && !cell.child.lives()
        {
            taken = lock(&self.stock).ready.pop();
        }
        self.refill(AFTER);
        taken
    }

    fn refill(&self, after: Duration) {
        let mut stock = lock(&self.stock);
        while stock.ready.len() + stock.coming < self.wanted {
            let (cells, place) = (self.cells.clone(), self.stock.clone());
            let start = move || {
                std::thread::sleep(after);
                let mut started = Empty::start(&cells);
                // One that dies before it is ready seldom does so twice.
                for _ in 1..TRIES {
                    if started.is_err() {
                        std::thread::sleep(AFTER);
                        started = Empty::start(&cells);
                    }
                }
                let mut stock = lock(&place);
                stock.coming -= 1;
                match started {
                    Ok(cell) if !stock.closed => stock.ready.push(cell),
                    Ok(_) => {}
                    // The next that is taken tries again.
                    Err(error) => tracing::warn!(%error, "no cell could be kept warm"),
                }
            };
            if std::thread::Builder::new().name("daee-warm".into()).spawn(start).is_err() {
                return;
            }
            stock.coming += 1;
        }
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        let mut stock = lock(&self.stock);
        stock.closed = true;
        stock.ready.clear();
    }
}

fn lock(stock: &Mutex<Stock>) -> MutexGuard<'_, Stock> {
    stock.lock().expect("no thread panics while it holds this")
}
