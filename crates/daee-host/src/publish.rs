//! What agents publish, brought on chain: in order, at least once, and only by the lease they belong to.

use std::{sync::Arc, time::Duration};

use daee_state::Effect;
use daee_types::{DeploymentId, EpochId, Word};
use tokio::{sync::mpsc, time::sleep};

use crate::host::Shared;

/// How long a value waits after the chain could not be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Takes effects of kept turns until the sender is dropped or the lease is over.
pub(crate) fn start(
    shared: Arc<Shared>,
    id: DeploymentId,
    epoch: EpochId,
) -> mpsc::UnboundedSender<Vec<Effect>> {
    let (sender, mut queue) = mpsc::unbounded_channel::<Vec<Effect>>();
    tokio::spawn(async move {
        while let Some(list) = queue.recv().await {
            for effect in newest(&list) {
                if !publish(&shared, id, epoch, effect).await {
                    return;
                }
            }
            let upto = list.iter().map(|effect| effect.turn).max();
            if let (Some(upto), Some(agent)) = (upto, shared.agent(id))
                && agent.epoch == epoch
            {
                // An agent that is gone finds the effect in its state when it comes back, and the
                // contract says that it is not newer.
                let _ = agent.released(upto).await;
            }
        }
    });
    sender
}

/// The contract takes one value of a topic in a turn: the last one said is meant.
fn newest(list: &[Effect]) -> impl Iterator<Item = &Effect> {
    list.iter().enumerate().filter_map(|(at, effect)| {
        let later = &list[at + 1..];
        let replaced = |other: &Effect| other.turn == effect.turn && other.topic == effect.topic;
        (!later.iter().any(replaced)).then_some(effect)
    })
}

/// False once the lease is over: what is left belongs to whoever holds the next.
async fn publish(shared: &Shared, id: DeploymentId, epoch: EpochId, effect: &Effect) -> bool {
    let topic = topic_word(&effect.topic);
    loop {
        let done = shared.account.publish(id, epoch, effect.turn, topic, &effect.data).await;
        match done {
            Ok(_) => return true,
            Err(error) if error.revert_name() == Some("StaleLease") => return false,
            Err(error) if error.is_revert() => {
                // Published before a restart, overtaken by a newer value, or refused for good.
                tracing::debug!(deployment = %id, %error, "a value is not published");
                return true;
            }
            Err(error) => {
                tracing::warn!(deployment = %id, %error, "a value waits for the chain");
                sleep(RETRY).await;
            }
        }
    }
}

/// A topic is its own bytes, filled up with zeros: what Solidity makes of a short string literal.
fn topic_word(topic: &str) -> Word {
    let mut word = [0; 32];
    let bytes = topic.as_bytes();
    let len = bytes.len().min(32);
    word[..len].copy_from_slice(&bytes[..len]);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_turns_values_of_a_topic_the_last_one_is_published() {
        let said = |turn, topic: &str, data: u8| Effect {
            turn,
            call: 0,
            topic: topic.into(),
            data: vec![data],
        };
        let list = [said(1, "a", 1), said(1, "b", 2), said(1, "a", 3), said(2, "a", 4)];
        let published: Vec<_> = newest(&list).map(|effect| effect.data[0]).collect();
        assert_eq!(published, [2, 3, 4]);
    }

    #[test]
    fn a_topic_is_what_solidity_makes_of_a_short_string() {
        let word = topic_word("price");
        assert_eq!((&word[..5], &word[5..]), (&b"price"[..], &[0; 27][..]));
        assert_eq!(topic_word(&"x".repeat(40)), [b'x'; 32]);
    }
}
