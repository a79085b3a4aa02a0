//! A STUN server: tells a tab the public address that its packets come from, so that tabs in different networks can
//! connect directly.
//!
//! It keeps no state about clients except for their rates, in a table of fixed size, and sends at most one small response to
//! a request. All sockets of a relay share one [`Rates`].

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use stun::{
    message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter},
    xoraddr::XorMappedAddress,
};
use tokio::{net::UdpSocket, sync::watch, time::sleep};

use crate::{
    limits::Limits,
    metrics::{Limit, Metrics, Resource},
    network::{Network, network_of_ip},
    network_buckets::NetworkBuckets,
    token_bucket::TokenBucket,
};

/// Bytes of a request that are read. Browsers send 20, and a valid request fits into one packet.
const MAX_REQUEST_LEN: usize = 1_500;

/// Pause after a failed receive.
const RECEIVE_RETRY: Duration = Duration::from_millis(100);

/// How many responses are sent.
///
/// A response is 1.6 times as long as its request, and the source address of a request can be spoofed. The rates make the
/// server useless for amplification attacks.
#[derive(Debug)]
pub(crate) struct Rates(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    limits: watch::Receiver<Limits>,
    total: TokenBucket,
    networks: NetworkBuckets,
}

impl Rates {
    /// The rates that `limits` allow, also after a change of them.
    pub(crate) fn new(mut limits: watch::Receiver<Limits>) -> Self {
        let (total, networks) = buckets(&limits.borrow_and_update());
        Self(Mutex::new(Buckets {
            limits,
            total,
            networks,
        }))
    }

    /// Takes a response to a client of this network.
    ///
    /// # Errors
    /// The limit that allows none.
    fn try_take(&self, network: Network, now: Instant) -> Result<(), Limit> {
        // No operation can panic in the middle, so a poisoned lock is safe to use.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.limits.has_changed().unwrap_or_default() {
            let (total, networks) = buckets(&state.limits.borrow_and_update());
            (state.total, state.networks) = (total, networks);
        }
        // First that of the network, so that a single one cannot empty the total.
        if !state.networks.try_take(network, now) {
            return Err(Limit::Network);
        }
        if !state.total.try_take(now) {
            return Err(Limit::Total);
        }
        Ok(())
    }
}

fn buckets(limits: &Limits) -> (TokenBucket, NetworkBuckets) {
    let (total, per_network) = limits.stun_buckets();
    let now = Instant::now();
    (
        TokenBucket::new(total, now),
        NetworkBuckets::new(per_network, now),
    )
}

/// Responds to binding requests. Never returns.
pub(crate) async fn serve(socket: UdpSocket, rates: Arc<Rates>, metrics: Arc<Metrics>) {
    let mut buffer = [0; MAX_REQUEST_LEN];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // Some systems report here that an earlier response could not be delivered.
                tracing::debug!(%error, "cannot receive a STUN request");
                sleep(RECEIVE_RETRY).await;
                continue;
            }
        };
        let request = buffer.get(..length).unwrap_or_default();
        let Some(response) = respond(request, from) else {
            continue;
        };
        if let Err(limit) = rates.try_take(network_of_ip(from.ip()), Instant::now()) {
            metrics.refused(Resource::StunResponses, limit);
        } else if let Err(error) = send(&socket, &response, from).await {
            tracing::debug!(%error, %from, "cannot send a STUN response");
        } else {
            metrics.stun_responses.inc();
        }
    }
}

async fn send(socket: &UdpSocket, response: &[u8], to: SocketAddr) -> io::Result<()> {
    socket.send_to(response, to).await.map(|_| ())
}

/// The response to a binding request from the address `from`, or `None` if it is not a binding request.
fn respond(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let mut received = Message::new();
    received.write(request).ok()?;
    if received.typ != BINDING_REQUEST {
        return None;
    }
    let setters: [Box<dyn Setter>; 3] = [
        Box::new(received.transaction_id),
        Box::new(BINDING_SUCCESS),
        Box::new(XorMappedAddress {
            ip: from.ip().to_canonical(),
            port: from.port(),
        }),
    ];
    let mut response = Message::new();
    response.build(&setters).ok()?;
    Some(response.raw)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use stun::{
        agent::TransactionId,
        message::{Getter as _, METHOD_BINDING, MessageType},
    };
    use tokio::{task::JoinHandle, time::timeout};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn message(kind: MessageType) -> Message {
        let mut message = Message::new();
        let parts: [Box<dyn Setter>; 2] = [Box::new(TransactionId([7; 12])), Box::new(kind)];
        message.build(&parts).expect("fits");
        message
    }

    fn read(response: &[u8]) -> (TransactionId, SocketAddr) {
        let mut message = Message::new();
        message.write(response).expect("a STUN message");
        assert_eq!(message.typ, BINDING_SUCCESS);
        let mut address = XorMappedAddress::default();
        address.get_from(&message).expect("an address");
        let seen = SocketAddr::new(address.ip, address.port);
        (message.transaction_id, seen)
    }

    #[test]
    fn response_contains_the_source_address() {
        for ip in [
            Ipv4Addr::new(192, 0, 2, 7).into(),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let from = SocketAddr::new(ip, 4711);
            let response = respond(&message(BINDING_REQUEST).raw, from).expect("a response");
            assert_eq!(read(&response), (TransactionId([7; 12]), from));
        }
    }

    #[test]
    fn other_messages_get_no_response() {
        let from = SocketAddr::from(([192, 0, 2, 7], 4711));
        let indication = MessageType::new(METHOD_BINDING, stun::message::CLASS_INDICATION);
        let mut bad_cookie = message(BINDING_REQUEST).raw;
        bad_cookie[4] ^= 1;
        for request in [
            Vec::new(),
            vec![0; 20],
            vec![0xFF; MAX_REQUEST_LEN],
            message(BINDING_SUCCESS).raw,
            message(indication).raw,
            message(BINDING_REQUEST).raw[..19].to_vec(),
            bad_cookie,
        ] {
            assert_eq!(respond(&request, from), None, "{request:?}");
        }
    }

    /// A socket with a server, and one that is connected to it.
    async fn served(rates: &Arc<Rates>) -> (UdpSocket, JoinHandle<()>) {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = server.local_addr().expect("bound");
        client.connect(address).await.expect("connects");
        let metrics = Arc::new(Metrics::new());
        let serving = tokio::spawn(serve(server, Arc::clone(rates), metrics));
        (client, serving)
    }

    #[tokio::test]
    async fn responses_stop_when_the_bucket_is_empty() {
        let mut limits = Limits::default();
        (limits.stun_burst, limits.stun_refill) = (1, Duration::from_secs(3_600));
        let (change, limits) = watch::channel(limits);
        let rates = Arc::new(Rates::new(limits));
        let (client, serving) = served(&rates).await;
        let us = client.local_addr().expect("bound");
        let mut buffer = [0; MAX_REQUEST_LEN];
        client.send(b"not STUN").await.expect("sends");
        client
            .send(&message(BINDING_REQUEST).raw)
            .await
            .expect("sends");
        let length = timeout(SOON, client.recv(&mut buffer)).await;
        let length = length.expect("in time").expect("a response");
        assert_eq!(read(&buffer[..length]).1, us);

        // Another socket of the relay has no responses of its own.
        let (other, serving_other) = served(&rates).await;
        for client in [&client, &other] {
            client
                .send(&message(BINDING_REQUEST).raw)
                .await
                .expect("sends");
            let second = timeout(Duration::from_millis(200), client.recv(&mut buffer)).await;
            assert!(second.is_err(), "a second response");
        }

        change.send(Limits::default()).expect("it runs");
        let request = message(BINDING_REQUEST).raw;
        client.send(&request).await.expect("sends");
        let third = timeout(SOON, client.recv(&mut buffer)).await;
        assert!(third.is_ok(), "no response after the limits were raised");
        serving.abort();
        serving_other.abort();
    }
}
