//! What waits for one agent: orders of the node, and requests of others behind them.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Why something was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken<T> {
    /// Too many wait already.
    Full(T),
    /// Nobody takes it any more.
    Closed,
}

/// Why there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// Not now.
    Yet,
    /// Not ever: whoever could send is gone.
    More,
}

/// The end that sends. Cheap to clone.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// The end that takes.
pub(crate) struct Mailbox<T>(Arc<Shared<T>>);

struct Shared<T> {
    lanes: Mutex<Lanes<T>>,
    bell: Condvar,
    each_max: usize,
}

struct Lanes<T> {
    orders: VecDeque<T>,
    requests: VecDeque<T>,
    senders: usize,
    takes_orders: bool,
    takes_requests: bool,
}

/// A mailbox that keeps so many orders and so many requests.
pub(crate) fn mailbox<T>(each_max: usize) -> (Sender<T>, Mailbox<T>) {
    let lanes = Lanes {
        orders: VecDeque::new(),
        requests: VecDeque::new(),
        senders: 1,
        takes_orders: true,
        takes_requests: true,
    };
    let shared = Arc::new(Shared { lanes: Mutex::new(lanes), bell: Condvar::new(), each_max });
    (Sender(shared.clone()), Mailbox(shared))
}

impl<T> Sender<T> {
    /// Puts it behind what waits of its kind. Orders are taken before all requests.
    pub fn order(&self, order: T) -> Result<(), NotTaken<T>> {
        self.put(order, |lanes| lanes.takes_orders.then_some(&mut lanes.orders))
    }

    /// The same for a request.
    pub fn request(&self, request: T) -> Result<(), NotTaken<T>> {
        self.put(request, |lanes| lanes.takes_requests.then_some(&mut lanes.requests))
    }

    fn put(
        &self,
        one: T,
        lane: impl FnOnce(&mut Lanes<T>) -> Option<&mut VecDeque<T>>,
    ) -> Result<(), NotTaken<T>> {
        let mut lanes = self.0.lock();
        let lane = lane(&mut lanes).ok_or(NotTaken::Closed)?;
        if lane.len() >= self.0.each_max {
            return Err(NotTaken::Full(one));
        }
        lane.push_back(one);
        drop(lanes);
        self.0.bell.notify_one();
        Ok(())
    }
}

impl<T> Mailbox<T> {
    /// The next, which is waited for.
    pub fn take(&self, time_max: Duration) -> Result<T, Nothing> {
        let (lanes, bell) = (self.0.lock(), &self.0.bell);
        let empty = |lanes: &mut Lanes<T>| lanes.is_empty() && lanes.senders > 0;
        let waited = bell.wait_timeout_while(lanes, time_max, empty);
        waited.unwrap_or_else(PoisonError::into_inner).0.next()
    }

    /// The next, if it is there.
    pub fn try_take(&self) -> Result<T, Nothing> {
        self.0.lock().next()
    }

    /// Takes no request any more; those that wait are dropped.
    pub fn close_requests(&self) {
        let mut lanes = self.0.lock();
        lanes.takes_requests = false;
        let dropped = std::mem::take(&mut lanes.requests);
        drop(lanes);
        drop(dropped);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        // Nothing that is done under the lock can panic half way.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lanes<T> {
    fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.requests.is_empty()
    }

    fn next(&mut self) -> Result<T, Nothing> {
        let next = self.orders.pop_front().or_else(|| self.requests.pop_front());
        next.ok_or(if self.senders == 0 { Nothing::More } else { Nothing::Yet })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.bell.notify_one();
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        let mut lanes = self.0.lock();
        (lanes.takes_orders, lanes.takes_requests) = (false, false);
        let dropped = (std::mem::take(&mut lanes.orders), std::mem::take(&mut lanes.requests));
        drop(lanes);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_waits_behind_no_request() {
        let (sender, mailbox) = mailbox(3);
        for n in 0..3 {
            sender.request(n).unwrap();
        }
        assert!(matches!(sender.request(3), Err(NotTaken::Full(3))));
        sender.order(10).unwrap();
        sender.order(11).unwrap();
        let taken: Vec<i32> = std::iter::from_fn(|| mailbox.try_take().ok()).collect();
        assert_eq!(taken, [10, 11, 0, 1, 2]);
        assert_eq!(mailbox.try_take(), Err(Nothing::Yet));
    }

    #[test]
    fn what_was_sent_before_all_were_gone_is_taken_and_then_there_is_no_more() {
        let (sender, mailbox) = mailbox(3);
        let other = sender.clone();
        drop(sender);
        other.request(1).unwrap();
        drop(other);
        assert_eq!(mailbox.take(Duration::from_secs(60)), Ok(1));
        assert_eq!(mailbox.take(Duration::from_secs(60)), Err(Nothing::More));
    }

    #[test]
    fn whoever_takes_no_requests_takes_orders() {
        let (sender, mailbox) = mailbox(3);
        sender.request(1).unwrap();
        mailbox.close_requests();
        assert!(matches!(sender.request(2), Err(NotTaken::Closed)));
        sender.order(3).unwrap();
        assert_eq!(mailbox.try_take(), Ok(3));
        drop(mailbox);
        assert!(matches!(sender.order(4), Err(NotTaken::Closed)));
    }

    #[test]
    fn one_that_waits_is_woken() {
        let (sender, mailbox) = mailbox(3);
        let waiting = std::thread::spawn(move || mailbox.take(Duration::from_secs(60)));
        sender.order(7).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(7));
    }
}
