//! The event loop: carries out the commands of `api`, and records libp2p's events in the table.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{StreamExt, select};
use futures_timer::Delay;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::ListenerId;
use libp2p::core::upgrade;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{self, ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport, gossipsub, identify, identity, noise, ping, relay,
    websocket_websys, yamux,
};
use libp2p_webrtc_browser::{
    peer::{self, address},
    workarounds::HideObservedAddr,
};
use sha2::{Digest, Sha256};
use wasm_bindgen::JsError;
use wasm_bindgen_futures::spawn_local;

use crate::no_delay_flush::NoDelayFlush;
use crate::streams;
use crate::table::Table;

/// The maximum number of queued commands.
const MAX_QUEUED_COMMANDS: usize = 64;
/// How often to check whether a relayed connection can be closed because a direct one exists.
const UPGRADE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(60);

/// Topic whose messages the other peers publish again on [`PONG`].
const PING: &str = "interop/ping";
const PONG: &str = "interop/pong";

pub(crate) type Reply = oneshot::Sender<Result<(), String>>;

pub(crate) enum Command {
    Listen(Multiaddr, Reply),
    Dial(Multiaddr, Reply),
    Close(PeerId),
    CloseRelayed(ConnectionId),
    Ping(Vec<u8>),
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    webrtc: peer::Behaviour,
    identify: HideObservedAddr<identify::Behaviour>,
    ping: ping::Behaviour,
    gossip: gossipsub::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// Starts a swarm and its event loop.
pub(crate) fn start(
    table: Rc<RefCell<Table>>,
) -> Result<(PeerId, mpsc::Sender<Command>, streams::Control), JsError> {
    let key = identity::Keypair::generate_ed25519();
    let us = key.public().to_peer_id();
    let (circuits, relay) = relay::client::new(us);
    let (webrtc, upgrades) = peer::new(peer::Config::new(us));
    let noise = noise::Config::new(&key)?;
    let circuits = circuits
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default());
    let sockets = websocket_websys::Transport::default()
        .map(|socket, _| NoDelayFlush::new(socket))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default());
    let transport = webrtc
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(circuits.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner())
        .or_transport(sockets.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner())
        .boxed();

    let streams = libp2p_stream::Behaviour::new();
    let control = streams.new_control();
    streams::serve(control.clone())?;
    let gossip = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| {
            let mut hash = Sha256::new();
            hash.update(message.topic.as_str());
            hash.update(&message.data);
            gossipsub::MessageId::new(&hash.finalize())
        })
        .build()?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, gossip)
        .map_err(JsError::new)?;
    for topic in [PING, PONG] {
        gossip.subscribe(&gossipsub::IdentTopic::new(topic))?;
    }
    let behaviour = Behaviour {
        relay,
        webrtc: upgrades,
        identify: HideObservedAddr::new(identify::Behaviour::new(
            identify::Config::new("interop/1".to_owned(), key.public())
                .with_agent_version("interop-peer".to_owned()),
        )),
        ping: ping::Behaviour::default(),
        gossip,
        streams,
    };
    let settings = swarm::Config::with_wasm_executor().with_idle_connection_timeout(IDLE);
    let swarm = Swarm::new(transport, behaviour, us, settings);
    let (commands, receiver) = mpsc::channel(MAX_QUEUED_COMMANDS);
    let event_loop = EventLoop {
        swarm,
        table,
        commands: commands.clone(),
        dials: Vec::new(),
        reservations: Vec::new(),
    };
    spawn_local(event_loop.run(receiver));
    Ok((us, commands, control))
}

struct EventLoop {
    swarm: Swarm<Behaviour>,
    table: Rc<RefCell<Table>>,
    commands: mpsc::Sender<Command>,
    dials: Vec<(ConnectionId, Reply)>,
    reservations: Vec<(ListenerId, Reply)>,
}

impl EventLoop {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            select! {
                command = commands.next() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Listen(relay, reply) => {
                match self.swarm.listen_on(relay.with(Protocol::P2pCircuit)) {
                    Ok(listener) => self.reservations.push((listener, reply)),
                    Err(error) => answer(reply, Err(error.to_string())),
                }
            }
            Command::Dial(address, reply) => {
                let opts = DialOpts::from(address);
                let connection = opts.connection_id();
                match self.swarm.dial(opts) {
                    Ok(()) => self.dials.push((connection, reply)),
                    Err(error) => answer(reply, Err(format!("{error:?}"))),
                }
            }
            // Fails if there is no connection, which is the requested result anyway.
            Command::Close(peer) => drop(self.swarm.disconnect_peer_id(peer)),
            Command::CloseRelayed(connection) => {
                self.swarm.close_connection(connection);
            }
            Command::Ping(data) => self.publish(PING, data),
        }
    }

    fn publish(&mut self, topic: &str, data: Vec<u8>) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        // If publishing fails, the waiting request counts the message as lost.
        drop(gossip.publish(gossipsub::IdentTopic::new(topic), data));
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the tests need no other events"
    )]
    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint,
                ..
            } => {
                let direct = !address::is_relayed(&endpoint);
                self.table
                    .borrow_mut()
                    .opened(id, peer, direct, endpoint.is_dialer());
                if !direct && endpoint.is_dialer() {
                    self.close_once_upgraded(id, peer);
                }
                if let Some(reply) = take(&mut self.dials, &id) {
                    answer(reply, Ok(()));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                if let Some(reply) = take(&mut self.dials, &connection_id) {
                    answer(reply, Err(format!("{error:?}")));
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.table.borrow_mut().closed(connection_id);
            }
            SwarmEvent::NewListenAddr { listener_id, .. } => {
                if let Some(reply) = take(&mut self.reservations, &listener_id) {
                    answer(reply, Ok(()));
                }
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                if let Some(reply) = take(&mut self.reservations, &listener_id) {
                    answer(reply, Err(format!("{reason:?}")));
                }
            }
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            _ => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the tests need no other events"
    )]
    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Ping(ping::Event {
                connection,
                result: Ok(time),
                ..
            }) => {
                if let Some(link) = self.table.borrow_mut().link_mut(connection) {
                    link.ping_ms = Some(time.as_secs_f64() * 1_000.0);
                }
            }
            BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                info,
                ..
            }) => {
                if let Some(link) = self.table.borrow_mut().link_mut(connection_id) {
                    link.agent = Some(info.agent_version);
                    link.protocols = info.protocols.iter().map(ToString::to_string).collect();
                }
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. }) => {
                if message.topic.as_str() == PING {
                    self.publish(PONG, message.data);
                } else {
                    self.table.borrow_mut().gossip_returned(&message.data);
                }
            }
            BehaviourEvent::Gossip(
                gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. },
            ) => {
                let gossip = &self.swarm.behaviour().gossip;
                let ping = gossipsub::IdentTopic::new(PING).hash();
                self.table.borrow_mut().gossip_peers = gossip
                    .all_peers()
                    .filter(|(_, topics)| topics.contains(&&ping))
                    .count();
            }
            _ => {}
        }
    }

    /// Closes a relayed connection that this peer dialled, shortly after a direct one was established.
    fn close_once_upgraded(&self, relayed: ConnectionId, peer: PeerId) {
        let (mut commands, table) = (self.commands.clone(), Rc::clone(&self.table));
        spawn_local(async move {
            loop {
                Delay::new(UPGRADE_CHECK_INTERVAL).await;
                let links = table.borrow().links_with(&peer);
                if links.iter().all(|link| link.id != relayed) {
                    return;
                }
                if links.iter().any(|link| link.direct) {
                    // Fails only if the event loop is overloaded or has ended.
                    drop(commands.try_send(Command::CloseRelayed(relayed)));
                    return;
                }
            }
        });
    }
}

/// Answers a request. Has no effect if the caller no longer waits.
fn answer(reply: Reply, outcome: Result<(), String>) {
    drop(reply.send(outcome));
}

fn take<K: PartialEq>(list: &mut Vec<(K, Reply)>, key: &K) -> Option<Reply> {
    let index = list.iter().position(|(kept, _)| kept == key)?;
    Some(list.swap_remove(index).1)
}
