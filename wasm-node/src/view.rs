//! The values that JavaScript gets: plain structures with JSON's field names. Contains conversions only.

mod check;
mod storage;

use heartchain_chain::{
    content::{Content, ReadingForm},
    hash::BlockHash,
    header::Header,
    profile::{Profile, ProfileContent},
    reading::Reading,
    room::Room,
    tree::SideBranch,
};
use heartchain_peer::net::{Path, PeerId, PeerLink, RelayView as NetRelay, Role};
use heartchain_sync::{
    ImportSummary, NameView as MachineName, NotStored, OwnReading, PeerView as MachinePeer,
    SyncState, io::Verdict,
};
use serde::Serialize;

pub(crate) use self::{check::CheckView, storage::StorageView};
use crate::{
    dry_run::{DryRun, FaultKind},
    event_buffer::Notice,
    hex_text::hex,
    miner::MinerFault,
    node_state::NodeState,
};

/// The result of `status()`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusView {
    pub(crate) peer_id: String,
    pub(crate) author: String,
    pub(crate) room: Option<String>,
    pub(crate) private: bool,
    pub(crate) genesis: String,
    pub(crate) tip: TipView,
    pub(crate) target: Option<u64>,
    pub(crate) total_work: String,
    pub(crate) mempool: usize,
    pub(crate) state: &'static str,
    pub(crate) relays: Vec<RelayView>,
    pub(crate) peers: usize,
    pub(crate) clock_offset_ms: Option<i64>,
    pub(crate) hashes_per_second: Option<f64>,
    pub(crate) mining_limit: Option<u32>,
    pub(crate) isolated: bool,
    pub(crate) version: &'static str,
    pub(crate) storage: StorageView,
    pub(crate) held_back: Option<HeldBackView>,
    pub(crate) miner_error: Option<&'static str>,
    pub(crate) relay_document_error: Option<String>,
}

/// The value of `status().heldBack`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct HeldBackView {
    pub(crate) blocks: usize,
    pub(crate) until: u64,
}

/// The value of `status().tip`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TipView {
    pub(crate) index: u64,
    pub(crate) hash: String,
}

/// An element of `status().relays`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RelayView {
    pub(crate) address: String,
    pub(crate) peer_id: Option<String>,
    pub(crate) connected: bool,
    pub(crate) reserved: bool,
    pub(crate) full: bool,
}

/// An element of `peers()`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerView {
    pub(crate) peer_id: String,
    pub(crate) author: Option<String>,
    pub(crate) path: &'static str,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) index: Option<u64>,
}

/// An element of `blocks()`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockView {
    pub(crate) index: u64,
    pub(crate) time: u64,
    pub(crate) prev_hash: String,
    pub(crate) hash: String,
    pub(crate) readings_root: String,
    pub(crate) bits: u32,
    pub(crate) nonce: String,
    pub(crate) readings: Vec<ReadingView>,
}

/// A reading, in a block or waiting for one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReadingView {
    pub(crate) id: String,
    pub(crate) author: String,
    pub(crate) seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bpm: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<String>,
    pub(crate) signature: String,
}

/// An element of `ownReadings()`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OwnReadingView {
    pub(crate) id: String,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) bpm: u16,
    pub(crate) index: Option<u64>,
}

/// An element of `branches()`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BranchView {
    pub(crate) tip: String,
    pub(crate) index: u64,
    pub(crate) fork: u64,
    pub(crate) blocks: Vec<BranchBlockView>,
}

/// An element of a branch's `blocks`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BranchBlockView {
    pub(crate) index: u64,
    pub(crate) hash: String,
    pub(crate) prev_hash: String,
    pub(crate) time: u64,
}

/// The result of `dryRun()`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DryRunView {
    pub(crate) verdict: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) dropped: bool,
}

/// The result of `importJson()`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportedView {
    pub(crate) blocks: usize,
    pub(crate) new_blocks: usize,
    pub(crate) readings: usize,
    pub(crate) new_readings: usize,
    pub(crate) not_stored: NotStoredView,
}

/// How many waiting readings of a file are not stored, by reason.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NotStoredView {
    pub(crate) own_key: usize,
    pub(crate) number_taken: usize,
    pub(crate) unreadable: usize,
    pub(crate) no_room: usize,
}

/// An element of `names()`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NameView {
    pub(crate) author: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
}

/// A profile in an export.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProfileView {
    pub(crate) author: String,
    pub(crate) revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<String>,
    pub(crate) signature: String,
}

/// The `detail` of a "notice" event.
#[derive(Clone, Debug, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub(crate) enum NoticeView {
    Equivocation { author: String, seq: u64 },
    KeyReplaced { author: String },
    Repaired { records: usize },
    StorageFailing { reason: &'static str },
    StorageReopened { readings: Option<u64> },
    StorageLost { readings: usize, saved: usize },
    ClockSetBack { by_ms: u64 },
    ClockSetAhead { by_ms: u64 },
    ReadingsAdopted { readings: usize, slot: u32 },
}

/// The result of `record()`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecordedView {
    pub(crate) id: String,
    pub(crate) seq: u64,
}

/// The `detail` of a "chain" event.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ChainView {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) reorg: bool,
}

impl StatusView {
    pub(crate) fn new(state: &NodeState) -> Self {
        let (room, status) = (state.machine.room(), state.machine.status());
        Self {
            peer_id: state.local_peer_id.to_string(),
            author: state.machine.author().to_string(),
            room: room.params().name().map(ToString::to_string),
            private: room.form() == ReadingForm::Sealed,
            genesis: room.genesis_hash().to_string(),
            tip: TipView {
                index: status.index,
                hash: status.tip.to_string(),
            },
            target: status.target_index,
            total_work: status.total_work.to_string(),
            mempool: status.mempool,
            state: match status.state {
                _ if state.stopped => "stopped",
                SyncState::Starting => "starting",
                SyncState::Syncing => "syncing",
                SyncState::Synced => "synced",
                SyncState::Alone => "alone",
            },
            relays: state.relays.iter().map(RelayView::from).collect(),
            peers: if state.stopped {
                0
            } else {
                state.machine.peers().count()
            },
            clock_offset_ms: status.clock_offset_ms,
            hashes_per_second: state.hashes_per_second.map(f64::round),
            mining_limit: state.settings.mining_limit,
            isolated: state.settings.isolated,
            version: env!("CARGO_PKG_VERSION"),
            storage: StorageView::from(&*state.storage),
            held_back: status.held_back.map(|held| HeldBackView {
                blocks: held.blocks,
                until: held.until.get(),
            }),
            miner_error: state.miner_fault.map(MinerFault::name),
            relay_document_error: state
                .relay_document_fault
                .get()
                .map(|fault| fault.to_string()),
        }
    }
}

impl From<&NetRelay> for RelayView {
    fn from(relay: &NetRelay) -> Self {
        Self {
            address: relay.address.clone(),
            peer_id: relay.peer.map(|peer| peer.to_string()),
            connected: relay.connected,
            reserved: relay.reserved,
            full: relay.full,
        }
    }
}

impl PeerView {
    pub(crate) fn new(link: &PeerLink, peer: Option<&MachinePeer<PeerId>>) -> Self {
        let path = match (link.role, link.path) {
            (Role::Relay, _) => "relay",
            (Role::Member | Role::Unknown, Path::Direct) => "direct",
            (Role::Member | Role::Unknown, Path::Relayed) => "relayed",
        };
        Self {
            peer_id: link.peer.to_string(),
            author: peer.and_then(|peer| Some(peer.author?.to_string())),
            path,
            // Rounded to 0.1 ms: browsers' clocks are no finer.
            rtt_ms: link
                .rtt
                .map(|rtt| (rtt.as_secs_f64() * 10_000.0).round() / 10.0),
            index: peer.and_then(|peer| peer.index),
        }
    }
}

impl BlockView {
    pub(crate) fn new(
        hash: BlockHash,
        header: &Header,
        readings: impl IntoIterator<Item = ReadingView>,
    ) -> Self {
        Self {
            index: header.index,
            time: header.time.get(),
            prev_hash: header.prev_hash.to_string(),
            hash: hash.to_string(),
            readings_root: header.readings_root.to_string(),
            bits: header.bits.to_bits(),
            nonce: header.nonce.to_string(),
            readings: readings.into_iter().collect(),
        }
    }
}

impl ReadingView {
    /// A reading with its time and heart rate, unless it cannot be read here.
    pub(crate) fn new(room: &Room, reading: &Reading) -> Self {
        let mut view = Self::as_sent(room, reading);
        if let (Content::Sealed(_), Ok(opened)) = (&reading.content, room.open(reading)) {
            view.time = Some(opened.time.get());
            view.bpm = Some(opened.bpm.get());
        }
        view
    }

    /// A reading as peers get it: what is sealed stays so.
    pub(crate) fn as_sent(room: &Room, reading: &Reading) -> Self {
        let (time, bpm, sealed) = match &reading.content {
            Content::Open { time, bpm } => (Some(time.get()), Some(*bpm), None),
            Content::Sealed(sealed) => (None, None, Some(hex(sealed.as_bytes()))),
        };
        Self {
            id: hex(reading.id(room.id()).as_bytes()),
            author: hex(reading.author.as_bytes()),
            seq: reading.seq,
            time,
            bpm,
            sealed,
            signature: hex(reading.signature.as_bytes()),
        }
    }
}

impl ProfileView {
    /// A profile as peers get it: what is sealed stays so.
    pub(crate) fn as_sent(profile: &Profile) -> Self {
        let (name, sealed) = match &profile.content {
            ProfileContent::Open(name) => (Some(name.to_string()), None),
            ProfileContent::Sealed(sealed) => (None, Some(sealed.to_string())),
        };
        Self {
            author: profile.author.to_string(),
            revision: profile.revision.get(),
            name,
            sealed,
            signature: profile.signature.to_string(),
        }
    }
}

impl From<MachineName<'_>> for NameView {
    fn from(named: MachineName<'_>) -> Self {
        Self {
            author: named.author.to_string(),
            name: named.name.to_owned(),
            revision: named.revision.get(),
        }
    }
}

impl From<OwnReading> for OwnReadingView {
    fn from(own: OwnReading) -> Self {
        Self {
            id: own.id.to_string(),
            seq: own.seq,
            time: own.time.get(),
            bpm: own.bpm.get(),
            index: own.index,
        }
    }
}

impl From<&SideBranch> for BranchView {
    fn from(branch: &SideBranch) -> Self {
        let blocks = branch.blocks.iter();
        Self {
            tip: branch.tip.to_string(),
            index: branch.index,
            fork: branch.fork_index,
            blocks: blocks
                .map(|(hash, header)| BranchBlockView {
                    index: header.index,
                    hash: hash.to_string(),
                    prev_hash: header.prev_hash.to_string(),
                    time: header.time.get(),
                })
                .collect(),
        }
    }
}

impl From<DryRun> for DryRunView {
    fn from(dry_run: DryRun) -> Self {
        let DryRun {
            verdict,
            reason,
            kind,
            dropped,
        } = dry_run;
        Self {
            verdict: match verdict {
                Verdict::Accept => "accept",
                Verdict::Ignore => "ignore",
                Verdict::Reject => "reject",
            },
            reason,
            kind: kind.map(FaultKind::name),
            dropped,
        }
    }
}

impl From<ImportSummary> for ImportedView {
    fn from(summary: ImportSummary) -> Self {
        let ImportSummary {
            blocks,
            new_blocks,
            readings,
            new_readings,
            not_stored:
                NotStored {
                    own_key,
                    number_taken,
                    unreadable,
                    no_room,
                },
        } = summary;
        Self {
            blocks,
            new_blocks,
            readings,
            new_readings,
            not_stored: NotStoredView {
                own_key,
                number_taken,
                unreadable,
                no_room,
            },
        }
    }
}

impl From<Notice> for NoticeView {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Equivocation { author, seq } => Self::Equivocation {
                author: author.to_string(),
                seq,
            },
            Notice::KeyReplaced { author } => Self::KeyReplaced {
                author: author.to_string(),
            },
            Notice::Repaired { records } => Self::Repaired { records },
            Notice::StorageFailing { reason } => Self::StorageFailing { reason },
            Notice::StorageReopened { readings } => Self::StorageReopened { readings },
            Notice::StorageLost { readings, saved } => Self::StorageLost { readings, saved },
            Notice::ClockSetBack { by } => Self::ClockSetBack { by_ms: by },
            Notice::ClockSetAhead { by } => Self::ClockSetAhead { by_ms: by },
            Notice::ReadingsAdopted { readings, slot } => Self::ReadingsAdopted { readings, slot },
        }
    }
}
