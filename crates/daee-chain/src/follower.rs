use std::time::Duration;

use daee_types::Word;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Chain, ChainError, ChainEvent, Head, rpc::RpcError};

/// Blocks that one request for events spans at most; halved where an endpoint wants less.
const SPAN_MAX: u64 = 2_000;
/// Blocks this far back are remembered one by one; beyond, two or so for each doubling of the distance.
const RECENT: u64 = 32;
const POLL: Duration = Duration::from_millis(500);

/// A place in the chain up to which events were seen, with enough of the way there to find back after a
/// reorganisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last block whose events were seen.
    pub number: u64,
    /// Its hash.
    #[serde(with = "hex_word")]
    pub hash: Word,
    /// Blocks before it, oldest first.
    #[serde(default)]
    trail: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    number: u64,
    #[serde(with = "hex_word")]
    hash: Word,
}

impl Cursor {
    /// The place of a block: what comes after it is new.
    pub fn at(head: &Head) -> Self {
        Self { number: head.number, hash: head.hash, trail: Vec::new() }
    }

    /// For storing; [`Cursor::from_bytes`] reads it back.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and text always have a JSON form")
    }

    /// `None` for bytes that are no cursor.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn place(&self) -> Place {
        Place { number: self.number, hash: self.hash }
    }

    /// The same way, one step longer.
    fn onward(mut self, head: &Head) -> Self {
        self.trail.push(self.place());
        // The oldest of each stretch stays, and stretches nest: what is kept now is kept later.
        let mut last = None;
        self.trail.retain(|place| {
            let distance = head.number - place.number;
            let stretch = if distance <= RECENT { 1 } else { 1 << (distance / 2).ilog2() };
            let this = Some((stretch, place.number / stretch));
            std::mem::replace(&mut last, this) != this
        });
        Self { number: head.number, hash: head.hash, trail: self.trail }
    }

    /// Back to an earlier place of the way, if there is one.
    fn back(mut self) -> Option<Self> {
        let place = self.trail.pop()?;
        Some(Self { number: place.number, hash: place.hash, trail: self.trail })
    }
}

/// What happened since the step before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The newest block that the step covers.
    pub head: Head,
    /// What was announced in the blocks it covers, in order. Each event comes once on the way that leads
    /// to `cursor`; after a reorganisation, those of the new branch come too.
    pub events: Vec<ChainEvent>,
    /// Blocks seen before are not on the chain any more: what was learnt from their events may be wrong,
    /// and has to be read again.
    pub reorged: bool,
    /// Store it together with what the events led to, then ask for the next step.
    pub cursor: Cursor,
}

/// Follows the contracts' events block by block. Stores nothing itself: a process that starts again goes
/// on from the cursor it stored.
pub struct Follower {
    chain: Chain,
    cursor: Option<Cursor>,
    /// A rewind happened and no step has told of it yet.
    reorged: bool,
    span: u64,
    poll: Duration,
}

impl Follower {
    pub(crate) fn new(chain: Chain, cursor: Option<Cursor>) -> Self {
        Self { chain, cursor, reorged: false, span: SPAN_MAX, poll: POLL }
    }

    /// Looks for a new block this often; every 500 ms unless told.
    pub fn poll_every(mut self, time: Duration) -> Self {
        self.poll = time;
        self
    }

    /// Waits until there is a new block, and returns what is in it; a follower that is far behind gets
    /// many blocks in one step. After an error the next call starts from the same place. Nothing is lost
    /// when the future is dropped.
    pub async fn next(&mut self) -> Result<Step, ChainError> {
        loop {
            match self.look().await? {
                Some(step) => return Ok(step),
                None => tokio::time::sleep(self.poll).await,
            }
        }
    }

    /// One look; `None` when nothing is new.
    async fn look(&mut self) -> Result<Option<Step>, ChainError> {
        let head = self.chain.head().await?;
        let known = match &self.cursor {
            // An endpoint that is behind, or a chain cut short. Whatever we know at or below its head tells which.
            Some(cursor) if cursor.number > head.number => match self.newest_up_to(head.number) {
                Some(place) if self.holds(&place).await? => return Ok(None),
                _ => return self.rewind(&head).await.map(Some),
            },
            Some(cursor) if cursor.number == head.number => {
                if cursor.hash == head.hash {
                    return Ok(None);
                }
                return self.rewind(&head).await.map(Some);
            }
            Some(cursor) => Some(cursor.place()),
            None => None,
        };
        let from = known.map_or(self.chain.contracts().first_block, |place| place.number + 1);
        if from > head.number {
            return Ok(None);
        }
        let to = head.number.min(from + self.span - 1);
        let last = match to == head.number {
            true => Some(head),
            false => self.chain.block(json!(alloy::primitives::U64::from(to))).await?,
        };
        let Some(last) = last else { return Ok(None) };
        let Some(events) = self.events(from, &last).await? else { return Ok(None) };

        // The events are those between two blocks only if both were on one chain while we read. The order
        // of these two questions matters: the last block was there before the events were read.
        if let Some(place) = known
            && !self.holds(&place).await?
        {
            return self.rewind(&head).await.map(Some);
        }
        if !self.holds(&Place { number: last.number, hash: last.hash }).await? {
            return Ok(None);
        }
        self.span = (self.span * 2).min(SPAN_MAX);
        Ok(Some(self.step(last, events)))
    }

    fn step(&mut self, head: Head, events: Vec<ChainEvent>) -> Step {
        let cursor = match self.cursor.take() {
            Some(cursor) => cursor.onward(&head),
            None => Cursor::at(&head),
        };
        self.cursor = Some(cursor.clone());
        Step { head, events, reorged: std::mem::take(&mut self.reorged), cursor }
    }

    /// `None` when the endpoint would rather be asked for less, or contradicts itself.
    async fn events(
        &mut self,
        from: u64,
        last: &Head,
    ) -> Result<Option<Vec<ChainEvent>>, ChainError> {
        match self.chain.events(from, last.number).await {
            Ok(found) => {
                let fits = |(hash, event): &(Word, ChainEvent)| {
                    event.block != last.number || *hash == last.hash
                };
                let whole = found.iter().all(fits);
                Ok(whole.then(|| found.into_iter().map(|(_, event)| event).collect()))
            }
            Err(RpcError::Answered { .. } | RpcError::Silent { .. }) if last.number > from => {
                self.span = (last.number - from).div_ceil(2);
                tracing::debug!(span = self.span, "asking for the events of fewer blocks at once");
                Ok(None)
            }
            Err(error) => Err(error.reading("events")),
        }
    }

    /// Goes back to the newest block that is still on the chain. The step tells of it at once: whoever
    /// acts on what is gone should not have to wait for another block.
    async fn rewind(&mut self, head: &Head) -> Result<Step, ChainError> {
        let mut cursor = self.cursor.clone();
        while let Some(at) = cursor {
            if at.number <= head.number && self.holds(&at.place()).await? {
                tracing::warn!(block = at.number, "the chain was reorganised; going back");
                let back = self.chain.block(json!(alloy::primitives::U64::from(at.number))).await?;
                let Some(back) = back.filter(|block| block.hash == at.hash) else {
                    return Err(moving());
                };
                self.cursor = Some(at.clone());
                self.reorged = false;
                return Ok(Step { head: back, events: Vec::new(), reorged: true, cursor: at });
            }
            cursor = at.back();
        }
        // Nothing we knew is left: from the start.
        tracing::warn!("the chain is not the one that was followed; starting over");
        let first = self.chain.contracts().first_block;
        let start = self.chain.block(json!(alloy::primitives::U64::from(first))).await?;
        let start = start.ok_or_else(moving)?;
        let found =
            self.chain.events(first, first).await.map_err(|error| error.reading("events"))?;
        self.cursor = None;
        self.reorged = true;
        Ok(self.step(start, found.into_iter().map(|(_, event)| event).collect()))
    }

    fn newest_up_to(&self, number: u64) -> Option<Place> {
        let cursor = self.cursor.as_ref()?;
        cursor.trail.iter().rev().find(|place| place.number <= number).copied()
    }

    async fn holds(&self, place: &Place) -> Result<bool, ChainError> {
        let found = self.chain.block(json!(alloy::primitives::U64::from(place.number))).await?;
        Ok(found.is_some_and(|block| block.hash == place.hash))
    }
}

fn moving() -> ChainError {
    let why = "it changes while it is read".to_owned();
    ChainError::Malformed { what: "the chain", why }
}

mod hex_word {
    use daee_types::{TxHash, Word};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    // Any of our hash types writes a word as text.
    pub(super) fn serialize<S: Serializer>(word: &Word, to: S) -> Result<S::Ok, S::Error> {
        TxHash::new(*word).serialize(to)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
        TxHash::deserialize(from).map(|hash| *hash.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_bytes() {
        let cursor = walked(300);
        assert_eq!(Cursor::from_bytes(&cursor.to_bytes()), Some(cursor));
        assert_eq!(Cursor::from_bytes(b"{\"number\":1}"), None);
    }

    #[test]
    fn the_way_back_is_dense_near_by_and_bounded_for_any_distance() {
        for blocks in [1, 10, 64, 65, 1_000, 20_000] {
            let cursor = walked(blocks);
            assert!(cursor.trail.len() <= 100);
            let numbers: Vec<u64> = cursor.trail.iter().map(|place| place.number).collect();
            assert!(numbers.is_sorted());
            for back in 1..=blocks.min(RECENT) {
                assert!(numbers.contains(&(blocks - back)), "{back} of {blocks} is forgotten");
            }
            // A fork at any depth costs at most four times that depth to read again.
            for depth in [100, 500, 5_000].into_iter().filter(|depth| depth * 4 < blocks) {
                let found = numbers.iter().rev().find(|number| blocks - **number >= depth);
                assert!(blocks - found.unwrap() <= 4 * depth, "{depth} of {blocks}: {found:?}");
            }
        }
    }

    fn walked(blocks: u64) -> Cursor {
        let head = |number: u64| Head {
            number,
            hash: daee_types::keccak256(number.to_be_bytes()),
            time: daee_types::Timestamp::from_seconds(number),
        };
        (1..=blocks).fold(Cursor::at(&head(0)), |cursor, number| cursor.onward(&head(number)))
    }
}
