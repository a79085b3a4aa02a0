//! Answers STUN binding requests: it tells a tab the address that its packets come from, so that tabs of two
//! networks find a direct way to each other. It keeps nothing of anybody, and sends nothing but one small answer to
//! a request.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use stun::{
    message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter},
    xoraddr::XorMappedAddress,
};
use tokio::{net::UdpSocket, time::sleep};

use crate::allowance::{Allowance, Bucket};

/// Bytes of a request that are read. Browsers send 20; no request worth an answer is longer than a packet.
const MAX_REQUEST_LEN: usize = 1_500;

/// Pause after the system refused to receive.
const RECEIVE_RETRY: Duration = Duration::from_millis(100);

/// Answers requests for ever, as many as allowed: an answer is 1.6 times as long as a request, and a request's sender can
/// be forged, so little in all is of no use to anybody who means harm.
pub(crate) async fn serve(socket: UdpSocket, allowance: Allowance) {
    let mut bucket = Bucket::new(allowance, Instant::now());
    let mut buffer = [0; MAX_REQUEST_LEN];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // On some systems, an earlier answer that could not be delivered.
                tracing::debug!(%error, "cannot receive a STUN request");
                sleep(RECEIVE_RETRY).await;
                continue;
            }
        };
        let request = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = answer(request, from)
            && bucket.take(Instant::now())
            && let Err(error) = send(&socket, &answer, from).await
        {
            tracing::debug!(%error, %from, "cannot answer a STUN request");
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) -> io::Result<()> {
    socket.send_to(answer, to).await.map(|_| ())
}

/// The answer to a binding request that came from this address; `None` if it is none.
fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let mut asked = Message::new();
    asked.write(request).ok()?;
    if asked.typ != BINDING_REQUEST {
        return None;
    }
    let seen: [Box<dyn Setter>; 3] = [
        Box::new(asked.transaction_id),
        Box::new(BINDING_SUCCESS),
        Box::new(XorMappedAddress {
            ip: from.ip().to_canonical(),
            port: from.port(),
        }),
    ];
    let mut answer = Message::new();
    answer.build(&seen).ok()?;
    Some(answer.raw)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use stun::{
        agent::TransactionId,
        message::{Getter as _, METHOD_BINDING, MessageType},
    };
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    fn message(kind: MessageType) -> Message {
        let mut message = Message::new();
        let parts: [Box<dyn Setter>; 2] = [Box::new(TransactionId([7; 12])), Box::new(kind)];
        message.build(&parts).expect("fits");
        message
    }

    fn read(answer: &[u8]) -> (TransactionId, SocketAddr) {
        let mut message = Message::new();
        message.write(answer).expect("a STUN message");
        assert_eq!(message.typ, BINDING_SUCCESS);
        let mut address = XorMappedAddress::default();
        address.get_from(&message).expect("an address");
        let seen = SocketAddr::new(address.ip, address.port);
        (message.transaction_id, seen)
    }

    #[test]
    fn a_request_is_answered_with_where_it_came_from() {
        for ip in [
            Ipv4Addr::new(192, 0, 2, 7).into(),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let from = SocketAddr::new(ip, 4711);
            let answer = answer(&message(BINDING_REQUEST).raw, from).expect("an answer");
            assert_eq!(read(&answer), (TransactionId([7; 12]), from));
        }
    }

    #[test]
    fn nothing_else_is_answered() {
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
            assert_eq!(answer(&request, from), None, "{request:?}");
        }
    }

    #[tokio::test]
    async fn a_socket_answers_until_the_allowance_is_used_up() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let us = client.local_addr().expect("bound");
        client
            .connect(server.local_addr().expect("bound"))
            .await
            .expect("connects");
        let once = Allowance {
            burst: 1,
            refill: Duration::from_secs(3_600),
        };
        let serving = tokio::spawn(serve(server, once));
        let mut buffer = [0; MAX_REQUEST_LEN];
        client.send(b"not STUN").await.expect("sends");
        client
            .send(&message(BINDING_REQUEST).raw)
            .await
            .expect("sends");
        let length = timeout(SOON, client.recv(&mut buffer)).await;
        let length = length.expect("in time").expect("an answer");
        assert_eq!(read(&buffer[..length]).1, us);

        client
            .send(&message(BINDING_REQUEST).raw)
            .await
            .expect("sends");
        let silence = timeout(Duration::from_millis(200), client.recv(&mut buffer)).await;
        assert!(silence.is_err(), "a second answer");
        serving.abort();
    }
}
