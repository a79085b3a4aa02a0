//! Counts the bytes that one more reading costs among ten fully connected peers: gossip payloads, once per link that
//! they cross, and requests and responses. This is an upper bound: gossipsub keeps a mesh of six links per peer, and
//! here an item crosses all nine. Framing, encryption and gossipsub's control messages are not counted.

use heartchain_chain::{bpm::Bpm, room::Room};
use heartchain_sync::{Input, Now, io::Ticket};
use heartchain_test_support::{Branch, Disk, START, now_at};

use crate::{
    network::{BenchPeer, Network, start},
    report::Report,
    workload::{STEP, grow, room},
};

/// Number of peers in the room.
const PEERS: u8 = 10;

/// Measures on top of ten blocks and of ten thousand.
pub fn measure(report: &mut Report) {
    let room = room();
    let chain = grow(&room, 0..10, 10_000);
    for blocks in [10, 10_000] {
        let mut mesh = mesh(&room, &chain, blocks);
        run(&mut mesh, 3_000);
        (mesh.gossip, mesh.requests) = (0, 0);
        let bpm = Bpm::new(72).expect("72");
        let ticket = Ticket(0);
        mesh.send(0, Input::Record { ticket, bpm });
        run(&mut mesh, 10_000);
        assert!(
            mesh.peers
                .iter()
                .all(|peer| peer.machine.status().index == blocks as u64 + 1),
            "the reading is in every chain"
        );
        report.single(
            &format!(
                "one more reading among 10 peers behind {blocks} blocks, until it is in every chain"
            ),
            &format!(
                "{} bytes of gossip, {} of requests and responses",
                mesh.gossip, mesh.requests
            ),
            1,
        );
    }
}

/// Fully connected peers with the first blocks of this chain. Only the first one mines.
fn mesh(room: &Room, chain: &Branch, blocks: usize) -> Network {
    let now = now_at(START + (blocks as u64 + 1_000) * STEP, 0);
    let disk = Disk::with_blocks(chain.with_hashes().take(blocks));
    let peer = |number| BenchPeer::without_storage(start(room, number, number == 0, &disk, now));
    Network::new((0..PEERS).map(peer).collect(), now, true)
}

/// Lets this many milliseconds pass in steps of a hundred, without latency.
fn run(mesh: &mut Network, millis: u64) {
    for _ in 0..millis / 100 {
        let now = mesh.now;
        mesh.tick();
        mesh.deliver(|| now);
        mine(mesh);
        mesh.now = Now {
            wall: now.wall.saturating_add(100),
            monotonic: now.monotonic.saturating_add(100),
        };
    }
}

fn mine(mesh: &mut Network) {
    for at in mesh.numbers() {
        let state = &mut mesh.peers[usize::from(at)].state;
        if let Some(input) = state.find_nonce(u32::MAX) {
            mesh.send(at, input);
        }
    }
}
