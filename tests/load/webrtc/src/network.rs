//! A network between one client and a server: it delays all datagrams, and loses some.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// What happens to the datagrams of each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    pub(crate) delay: Duration,
    /// Of 1,000 datagrams, so many are lost.
    pub(crate) lost: u32,
}

/// A running network. It ends when dropped.
pub(crate) struct Network {
    /// Where the client finds the server.
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

type Client = Arc<Mutex<Option<SocketAddr>>>;

impl Network {
    pub(crate) async fn before(server: SocketAddr, quality: Quality) -> Result<Self> {
        let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        far.connect(server).await?;
        let address = near.local_addr()?;
        let client = Client::default();
        let mut tasks = JoinSet::new();
        for is_up in [true, false] {
            let (from, to) = if is_up { (&near, &far) } else { (&far, &near) };
            let (send, receive) = mpsc::unbounded_channel();
            tasks.spawn(take(
                Arc::clone(from),
                is_up.then(|| Arc::clone(&client)),
                quality,
                send,
            ));
            tasks.spawn(deliver(
                receive,
                Arc::clone(to),
                (!is_up).then(|| Arc::clone(&client)),
            ));
        }
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }
}

/// Receives datagrams, and loses some. Remembers where the client is if they are its own.
async fn take(
    socket: Arc<UdpSocket>,
    client: Option<Client>,
    quality: Quality,
    send: mpsc::UnboundedSender<(Instant, Vec<u8>)>,
) {
    let mut buffer = vec![0; 2_048];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(client) = &client {
            *client.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
        }
        if rand::random_range(0..1_000) < quality.lost {
            continue;
        }
        let due = Instant::now() + quality.delay;
        if send.send((due, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// Sends each datagram when it is due: to the client, or to the server that the socket is connected to.
async fn deliver(
    mut receive: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
    socket: Arc<UdpSocket>,
    client: Option<Client>,
) {
    while let Some((due, datagram)) = receive.recv().await {
        sleep_until(due).await;
        let to = client
            .as_ref()
            .map(|client| *client.lock().unwrap_or_else(PoisonError::into_inner));
        // What cannot be sent is lost.
        let _ = match to {
            Some(Some(client)) => socket.send_to(&datagram, client).await,
            Some(None) => continue,
            None => socket.send(&datagram).await,
        };
    }
}
