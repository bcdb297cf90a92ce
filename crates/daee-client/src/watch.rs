use std::time::Duration;

use daee_types::{Coded as _, DeploymentId, Fault};

use crate::{ClientError, Stage, WaitError};

/// Time between two looks while waiting.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What somebody who waits has seen so far.
pub(crate) struct Watch<'a> {
    id: DeploymentId,
    bound: Duration,
    stage: Option<Stage>,
    /// Why the last look saw nothing.
    blind: Option<ClientError>,
    on: &'a mut (dyn FnMut(&Stage) + Send),
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        id: DeploymentId,
        bound: Duration,
        on: &'a mut (dyn FnMut(&Stage) + Send),
    ) -> Self {
        Self { id, bound, stage: None, blind: None, on }
    }

    /// Remembers a stage, and tells it if it is new.
    pub(crate) fn tell(&mut self, stage: Stage) {
        if self.stage.as_ref() != Some(&stage) {
            (self.on)(&stage);
        }
        self.stage = Some(stage);
    }

    /// The same on the way to running. A node may start an agent between two looks; that it was
    /// assigned is told all the same.
    pub(crate) fn tell_running(&mut self, stage: Stage) {
        if let Stage::Running { bid, .. } = &stage
            && !matches!(self.stage, Some(Stage::Starting { .. } | Stage::Running { .. }))
        {
            self.tell(Stage::Starting { bid: *bid, url: None, note: "started".to_owned() });
        }
        self.tell(stage);
    }

    /// What a look came to. One that saw nothing because of the network is made again: what is waited
    /// for goes on meanwhile.
    pub(crate) fn judge<T>(
        &mut self,
        looked: Result<Option<T>, WaitError>,
    ) -> Result<Option<T>, WaitError> {
        match looked {
            Err(WaitError::Client(error)) if error.fault() == Fault::Network => {
                tracing::debug!(%error, "looking again");
                self.blind = Some(error);
                Ok(None)
            }
            looked => {
                self.blind = None;
                looked
            }
        }
    }

    /// The time is over.
    pub(crate) fn over(self) -> WaitError {
        match self.blind {
            Some(error) => error.into(),
            None => WaitError::Stuck {
                id: self.id,
                seconds: self.bound.as_secs(),
                stage: self.stage.map(Box::new),
            },
        }
    }
}
