//! The datagrams that wait for the task of a connection. Bounded, and without memory while none wait: tokio's channel keeps
//! room for 32 at least, which is much for each of thousands of silent connections.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Entries for which an empty queue keeps room.
pub(crate) const KEPT_ROOM: usize = 4;

/// Takes the first entry. A queue that is empty then gives back what it needs for more than a few.
pub(crate) fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() && queue.capacity() > KEPT_ROOM {
        *queue = VecDeque::new();
    }
    first
}

/// Adds datagrams. The task is told when it is dropped.
#[derive(Debug)]
pub(crate) struct QueueSender(Arc<Shared>);

/// Takes datagrams in the order in which they were added.
#[derive(Debug)]
pub(crate) struct QueueReceiver(Arc<Shared>);

/// The queue is full, or its receiver was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotQueued;

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    max: usize,
    /// Notified when the receiver has something to look at.
    receiver: Notify,
    /// Notified when the receiver was dropped.
    closed: Notify,
}

#[derive(Debug)]
struct Queue {
    datagrams: VecDeque<Vec<u8>>,
    has_sender: bool,
    has_receiver: bool,
}

/// A queue for at most so many datagrams.
pub(crate) fn queue(max: usize) -> (QueueSender, QueueReceiver) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            datagrams: VecDeque::new(),
            has_sender: true,
            has_receiver: true,
        }),
        max: max.max(1),
        receiver: Notify::new(),
        closed: Notify::new(),
    });
    (QueueSender(Arc::clone(&shared)), QueueReceiver(shared))
}

impl Shared {
    /// The queue. Each change is complete before anything can panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueSender {
    /// Adds a datagram.
    ///
    /// # Errors
    /// If there is no room for it, or the receiver was dropped.
    pub(crate) fn try_send(&self, datagram: &[u8]) -> Result<(), NotQueued> {
        let mut queue = self.0.lock();
        if !queue.has_receiver || queue.datagrams.len() >= self.0.max {
            return Err(NotQueued);
        }
        queue.datagrams.push_back(datagram.to_vec());
        drop(queue);
        self.0.receiver.notify_one();
        Ok(())
    }

    /// Waits until the receiver is dropped.
    pub(crate) async fn closed(&self) {
        while self.0.lock().has_receiver {
            self.0.closed.notified().await;
        }
    }
}

impl Drop for QueueSender {
    fn drop(&mut self) {
        self.0.lock().has_sender = false;
        self.0.receiver.notify_one();
    }
}

impl QueueReceiver {
    /// The next datagram; `None` if the sender was dropped and all were taken. Loses nothing if it is dropped while it waits.
    pub(crate) async fn recv(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(datagram) = self.try_recv() {
                return Some(datagram);
            }
            if !self.0.lock().has_sender {
                // What was added since.
                return self.try_recv();
            }
            self.0.receiver.notified().await;
        }
    }

    /// The next datagram, if one waits.
    pub(crate) fn try_recv(&mut self) -> Option<Vec<u8>> {
        pop(&mut self.0.lock().datagrams)
    }
}

impl Drop for QueueReceiver {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.has_receiver = false;
        queue.datagrams = VecDeque::new();
        drop(queue);
        self.0.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn datagrams_arrive_in_order_up_to_the_limit() {
        let (send, mut receive) = queue(2);
        assert_eq!(receive.recv().now_or_never(), None);
        assert_eq!(send.try_send(&[1]), Ok(()));
        assert_eq!(send.try_send(&[2]), Ok(()));
        assert_eq!(send.try_send(&[3]), Err(NotQueued));
        assert_eq!(receive.recv().now_or_never(), Some(Some(vec![1])));
        assert_eq!(send.try_send(&[4]), Ok(()));
        assert_eq!(receive.try_recv(), Some(vec![2]));
        assert_eq!(receive.try_recv(), Some(vec![4]));
        assert_eq!(receive.try_recv(), None);
    }

    #[test]
    fn dropped_sender_is_noticed_behind_its_datagrams() {
        let (send, mut receive) = queue(2);
        let mut waiting = receive.recv().boxed();
        assert_eq!((&mut waiting).now_or_never(), None);
        assert_eq!(send.try_send(&[1]), Ok(()));
        drop(send);
        assert_eq!(waiting.now_or_never(), Some(Some(vec![1])));
        assert_eq!(receive.recv().now_or_never(), Some(None));
    }

    #[test]
    fn dropped_receiver_is_noticed() {
        let (send, receive) = queue(2);
        assert_eq!(send.closed().now_or_never(), None);
        let mut waiting = send.closed().boxed();
        assert_eq!((&mut waiting).now_or_never(), None);
        assert_eq!(send.try_send(&[1]), Ok(()));
        drop(receive);
        assert_eq!(waiting.now_or_never(), Some(()));
        assert_eq!(send.try_send(&[1]), Err(NotQueued));
        assert_eq!(send.0.lock().datagrams.capacity(), 0);
    }

    #[test]
    fn waiting_receiver_learns_of_a_datagram() {
        // There is always room for one.
        let (send, mut receive) = queue(0);
        let mut waiting = receive.recv().boxed();
        assert_eq!((&mut waiting).now_or_never(), None);
        assert_eq!(send.try_send(&[1]), Ok(()));
        assert_eq!(send.try_send(&[2]), Err(NotQueued));
        assert_eq!((&mut waiting).now_or_never(), Some(Some(vec![1])));
        drop(waiting);
        let mut waiting = receive.recv().boxed();
        assert_eq!((&mut waiting).now_or_never(), None);
        drop(send);
        assert_eq!(waiting.now_or_never(), Some(None));
    }

    #[test]
    fn wait_that_is_given_up_loses_nothing() {
        let (send, mut receive) = queue(2);
        let mut waiting = receive.recv().boxed();
        assert_eq!((&mut waiting).now_or_never(), None);
        assert_eq!(send.try_send(&[1]), Ok(()));
        drop(waiting);
        assert_eq!(receive.recv().now_or_never(), Some(Some(vec![1])));
    }

    #[test]
    fn empty_queue_gives_its_memory_back() {
        let (send, mut receive) = queue(1_000);
        for _ in 0..2 {
            for _ in 0..1_000 {
                assert_eq!(send.try_send(&[0; 10]), Ok(()));
            }
            let taken = std::iter::from_fn(|| receive.try_recv()).count();
            assert_eq!(taken, 1_000);
            assert!(send.0.lock().datagrams.capacity() <= KEPT_ROOM);
        }
    }

    #[test]
    fn small_queue_keeps_its_room() {
        let mut queue = VecDeque::with_capacity(KEPT_ROOM);
        queue.extend([1; KEPT_ROOM]);
        for left in (0..KEPT_ROOM).rev() {
            assert_eq!((pop(&mut queue), queue.len()), (Some(1), left));
        }
        assert_eq!((pop(&mut queue), queue.capacity()), (None, KEPT_ROOM));
        let mut queue = VecDeque::with_capacity(KEPT_ROOM + 1);
        queue.push_back(1);
        assert_eq!((pop(&mut queue), queue.capacity()), (Some(1), 0));
    }
}
