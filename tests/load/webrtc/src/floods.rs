//! Senders that do not follow the protocol. Each datagram has an address of its own as its source, and no one answers.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use libp2p_webrtc_direct::Certificate;
use libp2p_webrtc_direct::stack::Stack;
use libp2p_webrtc_direct::stun::binding_request;

use crate::forger::Forger;
use crate::process::Server;

/// The port of forged addresses.
const PORT: u16 = 9;

/// Where the datagrams of a flood seem to come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// Addresses of 127.0.0.0/8, each with a socket that is closed at once.
    Loopback,
    /// Forged addresses of 10.0.0.0/8, to a server at this address.
    Forged(Ipv4Addr),
}

impl Source {
    pub(crate) fn server_ip(self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::Forged(ip) => ip,
        }
    }
}

/// Sends from the addresses of a source.
enum Sender {
    Loopback(SocketAddr),
    Forged(Forger),
}

impl Sender {
    fn new(source: Source, target: SocketAddr) -> std::io::Result<Self> {
        Ok(match source {
            Source::Loopback => Self::Loopback(target),
            Source::Forged(_) => Self::Forged(Forger::new(target)?),
        })
    }

    /// Sends these datagrams from the address with this number.
    fn send(&self, number: usize, datagrams: &[&[u8]]) -> std::io::Result<()> {
        let [.., a, b, c] = number.to_be_bytes();
        match self {
            Self::Loopback(target) => {
                let socket = UdpSocket::bind((Ipv4Addr::new(127, 1 + a, b, c.max(1)), 0))?;
                for datagram in datagrams {
                    socket.send_to(datagram, target)?;
                }
            }
            Self::Forged(forger) => {
                let from = SocketAddrV4::new(Ipv4Addr::new(10, a, b, c), PORT);
                for datagram in datagrams {
                    forger.send(from, datagram)?;
                }
            }
        }
        Ok(())
    }
}

/// The datagrams of a flood.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flood {
    /// Truncated, changed and random datagrams.
    Malformed,
    /// Correct STUN requests without DTLS.
    Requests,
    /// A correct STUN request and a ClientHello from each address.
    Hellos,
}

impl Flood {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "malformed" => Ok(Self::Malformed),
            "requests" => Ok(Self::Requests),
            "hellos" => Ok(Self::Hellos),
            _ => bail!("{text} is not malformed, requests or hellos"),
        }
    }

    pub(crate) fn usual_count(self) -> usize {
        match self {
            Self::Malformed | Self::Hellos => 10_000,
            Self::Requests => 100_000,
        }
    }

    /// Sends `count` times as fast as possible, and then goes on until it is stopped, at one tenth of that rate.
    pub(crate) fn start(
        self,
        source: Source,
        target: SocketAddr,
        first: usize,
        count: usize,
    ) -> Result<Running> {
        let hello = hello()?;
        let sender = Sender::new(source, target)?;
        let sent = Arc::new(AtomicUsize::new(0));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (counter, stop) = (Arc::clone(&sent), Arc::clone(&is_stopped));
        let thread = std::thread::spawn(move || -> std::io::Result<()> {
            let since = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let number = counter.load(Ordering::Relaxed);
                self.send(first + number, &sender, &hello)?;
                counter.store(number + 1, Ordering::Relaxed);
                if number >= count {
                    let each = since.elapsed() / u32::try_from(count).unwrap_or(u32::MAX).max(1);
                    std::thread::sleep(each * 10);
                }
            }
            Ok(())
        });
        Ok(Running {
            count,
            sent,
            is_stopped,
            thread,
        })
    }

    fn send(self, number: usize, sender: &Sender, hello: &[u8]) -> std::io::Result<()> {
        let request = request(number);
        match self {
            Self::Malformed => sender.send(number, &[&malformed(&request, number)]),
            Self::Requests => sender.send(number, &[&request]),
            Self::Hellos => sender.send(number, &[&request, hello]),
        }
    }
}

/// A flood that goes on.
pub(crate) struct Running {
    count: usize,
    sent: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Whether it has sent as often as it was asked to.
    pub(crate) fn is_done(&self) -> bool {
        self.sent.load(Ordering::Relaxed) >= self.count || self.thread.is_finished()
    }

    /// Returns how often it has sent.
    pub(crate) fn stop(self) -> Result<usize> {
        self.is_stopped.store(true, Ordering::Relaxed);
        let outcome = self
            .thread
            .join()
            .map_err(|_| anyhow!("the flood panicked"))?;
        outcome?;
        Ok(self.sent.load(Ordering::Relaxed))
    }
}

/// Begins handshakes, one after the other, and vanishes after each ClientHello. Returns how many requests were answered.
pub(crate) fn vanish(server: &Server, numbers: Range<usize>) -> Result<usize> {
    let hello = hello()?;
    let mut answered = 0;
    for number in numbers {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.send_to(&request(number), server.socket)?;
        answered += usize::from(socket.recv_from(&mut [0; 2_048]).is_ok());
        socket.send_to(&hello, server.socket)?;
    }
    Ok(answered)
}

fn hello() -> Result<Vec<u8>> {
    let mut stack = Stack::dial(&Certificate::generate()?, Instant::now())?;
    stack
        .next_datagram()
        .ok_or_else(|| anyhow!("no ClientHello"))
}

/// A correct request of version 1, with a name of its own.
fn request(number: usize) -> Vec<u8> {
    let name = format!("libp2p+webrtc+v1/{number:032}");
    binding_request([7; 12], &format!("{name}:{name}"), &name, 1)
}

fn malformed(request: &[u8], number: usize) -> Vec<u8> {
    let seed = number.wrapping_mul(2_654_435_761);
    let mut datagram = request.to_vec();
    match number % 3 {
        0 => datagram.truncate(seed % request.len()),
        1 => datagram[seed % (request.len() - 8)] ^= 1 << (seed % 8),
        _ => datagram.iter_mut().enumerate().for_each(|(at, byte)| {
            *byte = seed.wrapping_mul(at + 1).to_le_bytes()[1];
        }),
    }
    datagram
}
