//! The command line: what it accepts, and what follows from it.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use directories::ProjectDirs;
use heartchain_chain::{
    room::{Room, RoomKind, RoomNameError, RoomParams},
    room_key::KeyCommitment,
};
use heartchain_peer::net::{AddressError, NamedPeer, PageScheme, Scope};

use crate::{
    archive::{ExportSchedule, MAX_KEPT, MIN_INTERVAL},
    author_key::KeySource,
    miner::MiningShare,
    network::{
        DEFAULT_LISTEN, DEFAULT_RELAY, MAX_NAMED_PEERS, NetworkOptions, RelayName, parse_relay,
    },
    opening::KeeperOptions,
    room_link::{RoomLinkError, open_room, room_of_link},
    store::DiskLimit,
};

/// The room that a keeper keeps by default: that of the page.
const DEFAULT_ROOM: &str = "lobby";
/// The environment variable with links, one in each line, in place of the flags that name rooms.
const LINKS: &str = "HEARTCHAIN_LINK";
/// How many exports stay by default.
const DEFAULT_KEPT: usize = 24;
/// Rooms that one keeper keeps. Each has a store, a key, a connection to a relay and addresses of its own.
pub const MAX_ROOMS: usize = 100;

/// Keeps a Heartchain room on this computer, and records the heart rates that you type.
///
/// Type a number and press Enter to record it. Each new block is shown in a line. Ctrl-D or Ctrl-C ends the keeper; what was
/// recorded is on disk. A keeper of several rooms records nothing.
#[derive(Debug, Parser)]
#[command(
    name = "keeper",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead of keeping a room.
    #[command(subcommand)]
    pub command: Option<CliCommand>,

    /// The flags of a keeper that runs.
    #[command(flatten)]
    pub run: RunArgs,
}

/// A command that needs no network, and ends when it is done.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Writes everything that is stored of a room to a file that anyone can verify.
    Export {
        /// The file. An earlier one with this name is replaced once the new one is complete and verified.
        file: PathBuf,
        /// Which room, and where its files are.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Adds what an exported file has to the stored room. The room is that of the file.
    Import {
        /// The file, exported by a page or a keeper.
        file: PathBuf,
        /// Prints one JSON object instead of sentences.
        #[arg(long)]
        json: bool,
        /// Where the room's files are. A room that is given must be that of the file.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Verifies every hash, signature and rule of an exported file. Needs nothing else.
    Verify {
        /// The file, exported by a page or a keeper.
        file: PathBuf,
        /// Prints one JSON object instead of a sentence.
        #[arg(long)]
        json: bool,
    },
}

/// Which room, and where its files are.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaceArgs {
    /// The name of an open room [default: lobby].
    #[arg(long, value_name = "NAME", group = "which")]
    pub room: Option<String>,

    /// The link of a room, as "Share" on the page shows it. That of a private room has its key: quote it.
    #[arg(
        long,
        value_name = "LINK",
        group = "which",
        env = "HEARTCHAIN_LINK",
        hide_env_values = true
    )]
    pub link: Option<String>,

    /// The commitment of a private room, to keep it without its key.
    ///
    /// Such a keeper cannot read the room. It never mines and never records, and shows how many readings there are.
    #[arg(long, value_name = "HEX", group = "which")]
    pub commitment: Option<String>,

    /// Where the room's files are.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// Which rooms a keeper keeps.
#[derive(Clone, Debug, Default, Args)]
pub struct RoomsArgs {
    /// The name of an open room [default: lobby]. Repeatable, as the other two flags that name a room.
    #[arg(long, value_name = "NAME")]
    pub room: Vec<String>,

    /// The link of a room, as "Share" on the page shows it. That of a private room has its key: quote it.
    ///
    /// In place of flags that name rooms, the variable HEARTCHAIN_LINK can have links, one in each line.
    #[arg(long, value_name = "LINK")]
    pub link: Vec<String>,

    /// The commitment of a private room, to keep it without its key.
    ///
    /// Such a keeper cannot read the room. It never mines and never records, and shows how many readings there are.
    #[arg(long, value_name = "HEX")]
    pub commitment: Vec<String>,
}

/// Where the files of rooms are.
#[derive(Clone, Debug, Default, Args)]
pub struct FilesArgs {
    /// The folder with the files of all rooms [default: that of this user's applications].
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// The most that the stores of all rooms in the folder may take on the disk together, such as 512M or 16G [default: 16G].
    ///
    /// At this size a keeper records and keeps nothing new, as on a full disk, and goes on serving what it has. From 4G on, a store
    /// grows by 4G at a time.
    #[arg(long, value_name = "SIZE")]
    pub max_disk: Option<DiskLimit>,

    /// Use the key of a number that anyone can guess, instead of the key file. For tests only.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// The flags of a keeper that runs.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// The rooms that are kept.
    #[command(flatten)]
    pub rooms: RoomsArgs,

    /// Where the rooms' files are.
    #[command(flatten)]
    pub files: FilesArgs,

    /// A relay: the URL of its page, or its multiaddr [default: http://127.0.0.1:8080/]. Repeatable.
    ///
    /// Of several pages, the first that answers is used, with the relays that it lists. Multiaddrs and pages cannot be mixed.
    #[arg(long, value_name = "URL|MULTIADDR")]
    pub relay: Vec<String>,

    /// Use no relay: only named peers are dialed.
    #[arg(long, conflicts_with = "relay")]
    pub no_relay: bool,

    /// A peer of the room to dial in any case, by the multiaddr that a keeper prints. Repeatable.
    #[arg(long, value_name = "MULTIADDR")]
    pub peer: Vec<String>,

    /// Where to listen [default: ports of 127.0.0.1 that the system chooses]. Repeatable.
    ///
    /// For example /ip4/0.0.0.0/tcp/4001/ws, /ip4/0.0.0.0/udp/4001/webrtc-direct or /ip4/0.0.0.0/tcp/4002. Each of several rooms
    /// has ports of its own, so these must be 0, for which the system chooses.
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<String>,

    /// Dial no addresses that others register and that are closer than this: `loopback`, `private` or `public` [default: as far
    /// away as the relays are].
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    pub scope: Option<Scope>,

    /// Mine nothing. Readings wait until a peer mines them.
    #[arg(long)]
    pub no_mine: bool,

    /// The share of one processor core to mine with, in percent [default: 10]. Several rooms divide it.
    #[arg(long, value_name = "PERCENT", conflicts_with = "no_mine")]
    pub mining_share: Option<MiningShare>,

    /// Print one JSON object in each line, for programs (docs/keeper.md).
    #[arg(long)]
    pub json: bool,

    /// Print only errors, and read nothing from the terminal: for services. Of several rooms nothing is read either.
    #[arg(long)]
    pub quiet: bool,

    /// Write a verified export this often, such as 30m, 1h or 1d, to --export-dir.
    #[arg(long, value_name = "TIME", value_parser = interval, requires = "export_dir")]
    pub export_every: Option<Duration>,

    /// The folder of regular exports.
    #[arg(long, value_name = "FOLDER", requires = "export_every")]
    pub export_dir: Option<PathBuf>,

    /// How many regular exports of the room stay, the newest [default: 24].
    #[arg(long, value_name = "NUMBER", value_parser = kept, requires = "export_every")]
    pub export_keep: Option<usize>,
}

/// Why flags are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The room's name breaks a rule.
    #[error("--room: {0}")]
    Room(#[from] RoomNameError),
    /// The link is damaged.
    #[error("--link: {0}")]
    Link(#[from] RoomLinkError),
    /// The commitment is not 64 hexadecimal digits.
    #[error(
        "--commitment must be 64 hexadecimal digits, as a keeper with the room's key prints them"
    )]
    Commitment,
    /// A relay is neither a URL nor an address that can be dialed.
    #[error("--relay: {0}; or give the URL of its page, such as http://127.0.0.1:8080/")]
    Relay(AddressError),
    /// Pages and multiaddrs are mixed.
    #[error(
        "--relay: give URLs of pages or multiaddrs, not both; a --peer through a relay counts as a multiaddr"
    )]
    MixedRelays,
    /// The address of a peer leads to none.
    #[error("--peer: {0}")]
    Peer(AddressError),
    /// Too many peers are named.
    #[error("--peer: {MAX_NAMED_PEERS} peers can be named; the others are found by themselves")]
    TooManyPeers,
    /// Rooms are named by flags and by the variable.
    #[error("{LINKS} names rooms, too: use the variable or flags, not both")]
    LinksAndFlags,
    /// The variable is set and has no link.
    #[error("{LINKS} has no link: put one into it, or unset it")]
    NoLinks,
    /// Too many rooms are named.
    #[error("one keeper keeps {MAX_ROOMS} rooms; start others with another --data-dir")]
    TooManyRooms,
    /// A room is named twice.
    #[error("a room is named twice; name each room once")]
    RoomTwice,
    /// Several rooms are named with a peer of one of them.
    #[error("--peer: a peer belongs to one room, so name one room")]
    PeerOfOneRoom,
    /// Several rooms would listen at the same port.
    #[error(
        "--listen: several rooms cannot share {0}; write port 0, or start a keeper for each room"
    )]
    SharedPort(String),
    /// The system names no folder.
    #[error("this system has no folder for application data: choose one with --data-dir")]
    NoDataFolder,
}

impl Cli {
    /// Whether errors at the end are JSON.
    #[must_use]
    pub const fn prints_json(&self) -> bool {
        self.run.json || matches!(self.command, Some(CliCommand::Import { json: true, .. }))
    }
}

impl PlaceArgs {
    /// The room that was chosen, if one was.
    ///
    /// # Errors
    /// If its name, link or commitment is not valid.
    pub fn room(&self) -> Result<Option<Room>, CliError> {
        Ok(match (&self.room, &self.link, &self.commitment) {
            (Some(name), _, _) => Some(open_room(name)?),
            (None, Some(link), _) => Some(room_of_link(link)?),
            (None, None, Some(commitment)) => Some(room_of_commitment(commitment)?),
            (None, None, None) => None,
        })
    }
}

impl RoomsArgs {
    /// The rooms that were named, or the default one. `links` is the content of the variable with links, if it is set.
    ///
    /// # Errors
    /// If a name, link or commitment is not valid, a room is named twice, there are more than [`MAX_ROOMS`], or the variable is empty
    /// or set beside flags that name rooms.
    pub fn rooms(&self, links: Option<&str>) -> Result<Vec<Room>, CliError> {
        let mut rooms = Vec::new();
        for name in &self.room {
            rooms.push(open_room(name)?);
        }
        for link in &self.link {
            rooms.push(room_of_link(link)?);
        }
        for commitment in &self.commitment {
            rooms.push(room_of_commitment(commitment)?);
        }
        if let Some(links) = links {
            if !rooms.is_empty() {
                return Err(CliError::LinksAndFlags);
            }
            let lines = links.lines().map(str::trim);
            for link in lines.filter(|link| !link.is_empty()) {
                rooms.push(room_of_link(link)?);
            }
            if rooms.is_empty() {
                return Err(CliError::NoLinks);
            }
        }
        if rooms.is_empty() {
            rooms.push(open_room(DEFAULT_ROOM)?);
        }
        if rooms.len() > MAX_ROOMS {
            return Err(CliError::TooManyRooms);
        }
        let ids: BTreeSet<_> = rooms.iter().map(Room::id).collect();
        match ids.len() == rooms.len() {
            true => Ok(rooms),
            false => Err(CliError::RoomTwice),
        }
    }
}

fn room_of_commitment(text: &str) -> Result<Room, CliError> {
    let commitment: KeyCommitment = text.parse().map_err(|_| CliError::Commitment)?;
    let kind = RoomKind::Private { commitment };
    Ok(Room::new(RoomParams::with_defaults(kind)))
}

impl FilesArgs {
    /// What to open a room with, which does not mine.
    ///
    /// # Errors
    /// If the system names no folder for application data.
    pub fn options(&self, room: Room) -> Result<KeeperOptions, CliError> {
        let data_folder = match &self.data_dir {
            Some(folder) => folder.clone(),
            None => {
                let folders = ProjectDirs::from("", "", "heartchain");
                let folders = folders.ok_or(CliError::NoDataFolder)?;
                folders.data_dir().join("keeper")
            }
        };
        Ok(KeeperOptions {
            room,
            data_folder,
            key: self.seed.map_or(KeySource::File, KeySource::Seed),
            mining: None,
            max_disk: self.max_disk.unwrap_or(DiskLimit::DEFAULT),
        })
    }
}

impl RunArgs {
    /// What to open each room with.
    ///
    /// # Errors
    /// If a room is not valid, flags need a single room, or the system names no folder for application data.
    pub fn options(&self) -> Result<Vec<KeeperOptions>, CliError> {
        let links = std::env::var(LINKS).ok();
        self.options_with(links.as_deref())
    }

    fn options_with(&self, links: Option<&str>) -> Result<Vec<KeeperOptions>, CliError> {
        let rooms = self.rooms.rooms(links)?;
        if rooms.len() > 1 {
            self.check_shared()?;
        }
        // Without the key, no one can tell whether a reading may be in a block.
        let mines = |room: &Room| !self.no_mine && room.is_member();
        let miners = rooms.iter().filter(|room| mines(room)).count();
        let share = self.mining_share.unwrap_or(MiningShare::DEFAULT);
        let share = share.divided(miners);
        let options = rooms.into_iter().map(|room| {
            Ok(KeeperOptions {
                mining: mines(&room).then_some(share),
                ..self.files.options(room)?
            })
        });
        options.collect()
    }

    /// Whether several rooms can have the same flags.
    fn check_shared(&self) -> Result<(), CliError> {
        if !self.peer.is_empty() {
            return Err(CliError::PeerOfOneRoom);
        }
        let fixed = self.listen.iter().find(|address| has_fixed_port(address));
        match fixed {
            Some(address) => Err(CliError::SharedPort(address.clone())),
            None => Ok(()),
        }
    }

    /// How the keeper finds others and is found.
    ///
    /// # Errors
    /// If an address is not valid.
    pub fn network(&self) -> Result<NetworkOptions, CliError> {
        let mut options = NetworkOptions {
            scope: self.scope,
            ..NetworkOptions::default()
        };
        for relay in &self.relay {
            match parse_relay(relay).map_err(CliError::Relay)? {
                RelayName::Page(page) => options.relay_pages.push(page),
                RelayName::Address(address) => options.relays.push(address),
            }
        }
        if self.peer.len() > MAX_NAMED_PEERS {
            return Err(CliError::TooManyPeers);
        }
        let peers = self.peer.iter();
        let peers = peers.map(|peer| NamedPeer::parse(peer, PageScheme::NoPage));
        options.peers = peers.collect::<Result<_, _>>().map_err(CliError::Peer)?;
        let through = options.peers.iter().filter_map(NamedPeer::relay);
        options.relays.extend(through.cloned());
        if !options.relay_pages.is_empty() && !options.relays.is_empty() {
            return Err(CliError::MixedRelays);
        }
        // A peer that is named by a circuit brings its relay.
        if options.relays.is_empty() && options.relay_pages.is_empty() && !self.no_relay {
            options.relay_pages.push(DEFAULT_RELAY.to_owned());
        }
        options.listen = match self.listen.as_slice() {
            [] => DEFAULT_LISTEN.map(str::to_owned).to_vec(),
            given => given.to_vec(),
        };
        Ok(options)
    }

    /// The regular exports, if there are any.
    #[must_use]
    pub fn schedule(&self) -> Option<ExportSchedule> {
        Some(ExportSchedule {
            every: self.export_every?,
            folder: self.export_dir.clone()?,
            keep: self.export_keep.unwrap_or(DEFAULT_KEPT),
        })
    }
}

/// Whether a multiaddr has a port that is not left to the system.
fn has_fixed_port(address: &str) -> bool {
    let mut parts = address.split('/');
    let port = parts.find(|part| matches!(*part, "tcp" | "udp"));
    port.and_then(|_| parts.next())
        .is_some_and(|port| port != "0")
}

/// Parses a time such as `90s`, `30m`, `1h` or `1d`.
fn interval(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write a number and s, m, h or d, such as 1h");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    // A hundred years are as good as never, and far from what timers can count.
    let limit = 100 * 365 * 24 * 60 * 60;
    let time = Duration::from_secs(number.saturating_mul(seconds).min(limit));
    if time < MIN_INTERVAL {
        let seconds = MIN_INTERVAL.as_secs();
        return Err(format!("exports are at least {seconds} s apart"));
    }
    Ok(time)
}

/// Parses how far an address reaches.
fn scope(text: &str) -> Result<Scope, String> {
    match text {
        "loopback" => Ok(Scope::Loopback),
        "private" => Ok(Scope::Private),
        "public" => Ok(Scope::Public),
        _ => Err("it is one of loopback, private and public".to_owned()),
    }
}

/// Parses how many exports stay.
fn kept(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| (1..=MAX_KEPT).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number from 1 to {MAX_KEPT}"))
}

#[cfg(test)]
mod tests {
    use heartchain_chain::room_key::RoomKey;

    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, String> {
        let cli = Cli::try_parse_from(["keeper"].iter().chain(args));
        cli.map_err(|error| error.to_string())
    }

    fn all_options(args: &[&str]) -> Result<Vec<KeeperOptions>, String> {
        let options = parse(args)?.run.options();
        options.map_err(|error| error.to_string())
    }

    fn options(args: &[&str]) -> Result<KeeperOptions, String> {
        let mut options = all_options(args)?;
        assert_eq!(options.len(), 1);
        Ok(options.remove(0))
    }

    #[test]
    fn room_is_chosen_in_one_of_three_ways() {
        let lobby = open_room("lobby").expect("a name");
        assert_eq!(options(&[]).expect("options").room, lobby);
        assert_eq!(
            options(&["--room", " lobby "]).expect("options").room,
            lobby
        );
        let key = RoomKey::new([7; 32]);
        let link = format!("#private={}", key.to_token());
        let member = options(&["--link", &link]).expect("options");
        assert!(member.room.is_member() && member.mining.is_some());
        let commitment = key.commitment().to_string();
        let keeper = options(&["--commitment", &commitment]).expect("options");
        assert_eq!(keeper.room.id(), member.room.id());
        assert!(!keeper.room.is_member() && keeper.mining.is_none());
        let export = ["export", "f.json", "--room", "a", "--link", &link];
        assert!(parse(&export).is_err_and(|error| error.contains("cannot be used with")));
    }

    #[test]
    fn variable_has_links_in_place_of_flags() {
        let with = |args: &[&str], links| {
            let options = parse(args).expect("flags").run.options_with(Some(links));
            options
                .map(|rooms| rooms.len())
                .map_err(|error| error.to_string())
        };
        let link = format!("#private={}", RoomKey::new([7; 32]).to_token());
        let two = format!("{link} \r\n\n#room=b\n");
        assert_eq!(with(&[], &two), Ok(2));
        for (args, links, expected) in [
            (&[][..], "", "has no link"),
            (&[], " \n", "has no link"),
            (&["--room", "a"], &link, "not both"),
            (&["--commitment", &"ab".repeat(32)], &link, "not both"),
            (&[], "lobby", "no link of a room has"),
        ] {
            let error = with(args, links).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn several_rooms_share_flags_and_mining() {
        let key = RoomKey::new([7; 32]);
        let link = format!("#private={}", key.to_token());
        let other = RoomKey::new([8; 32]).commitment().to_string();
        let args = [
            ["--room", "a"],
            ["--room", "b"],
            ["--link", &link],
            ["--commitment", &other],
            ["--listen", "/ip4/0.0.0.0/tcp/0/ws"],
        ];
        let options = all_options(args.as_flattened()).expect("four rooms");
        let shares = options.iter().map(|options| options.mining);
        let share = MiningShare::new(3).expect("a share");
        assert_eq!(
            shares.collect::<Vec<_>>(),
            [Some(share), Some(share), Some(share), None],
            "10 percent are divided among those that can mine"
        );

        let commitment = key.commitment().to_string();
        let peer = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", libp2p::PeerId::random());
        for (flag, value, expected) in [
            ("--commitment", commitment.as_str(), "named twice"),
            ("--peer", &peer, "name one room"),
            ("--listen", "/ip4/0.0.0.0/tcp/4001/ws", "write port 0"),
            ("--listen", "/ip4/0.0.0.0/udp/4001/webrtc-direct", "port 0"),
        ] {
            let args = ["--room", "a", "--link", &link, flag, value];
            let error = all_options(&args).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }

        let names: Vec<String> = (0..=MAX_ROOMS)
            .map(|room| format!("--room={room}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(all_options(&names[1..]).map(|all| all.len()), Ok(MAX_ROOMS));
        let error = all_options(&names).expect_err("one too many");
        assert!(error.contains("keeps 100 rooms"), "{error}");
    }

    #[test]
    fn bad_flags_are_refused_in_words() {
        let long = "x".repeat(65);
        let cases: [(&[&str], &str); 13] = [
            (&["--room", ""], "at least one character"),
            (&["--room", &long], "longer than 64"),
            (&["--link", "lobby"], "no link of a room has"),
            (&["--link", "#private=abc"], "copy the whole link again"),
            (&["--commitment", "abc"], "64 hexadecimal digits"),
            (&["--mining-share", "0"], "1 to 100"),
            (&["--mining-share", "1", "--no-mine"], "cannot be used with"),
            (&["--seed", "x"], "invalid digit"),
            (&["--export-every", "1h"], "--export-dir"),
            (
                &["--export-every", "1 hour", "--export-dir", "d"],
                "no time",
            ),
            (
                &["--export-every", "59s", "--export-dir", "d"],
                "60 s apart",
            ),
            (
                &[
                    "--export-every",
                    "1h",
                    "--export-dir",
                    "d",
                    "--export-keep",
                    "0",
                ],
                "1 to 1000",
            ),
            (
                &[
                    "--export-every",
                    "1h",
                    "--export-dir",
                    "d",
                    "--export-keep",
                    "1001",
                ],
                "1 to 1000",
            ),
        ];
        for (args, expected) in cases {
            let error = options(args).expect_err("refused");
            assert!(error.contains(expected), "{args:?}: {error}");
        }
        assert_eq!(interval("60s"), Ok(MIN_INTERVAL));
        assert_eq!(interval("1d"), Ok(Duration::from_secs(86_400)));
        assert!(interval("99999999999999999999d").is_err());
        assert!(interval("9999999999999999d").is_ok());
    }

    fn network(args: &[&str]) -> Result<NetworkOptions, String> {
        let network = parse(args)?.run.network();
        network.map_err(|error| error.to_string())
    }

    #[test]
    fn relay_of_this_computer_is_the_default() {
        let options = network(&[]).expect("options");
        assert_eq!(options.relay_pages, [DEFAULT_RELAY]);
        assert_eq!(options.listen, DEFAULT_LISTEN);
        let options = network(&["--no-relay", "--listen", "/ip4/0.0.0.0/tcp/1"]).expect("options");
        assert!(options.relay_pages.is_empty() && options.relays.is_empty());
        assert_eq!(options.listen, ["/ip4/0.0.0.0/tcp/1"]);
        let two = [
            "--relay",
            "http://a.example",
            "--relay",
            "https://b.example/x/",
        ];
        let options = network(&two).expect("options");
        assert_eq!(
            options.relay_pages,
            ["http://a.example/", "https://b.example/x/"]
        );
        let options = network(&["--relay", "/ip4/127.0.0.1/tcp/1/ws"]).expect("options");
        assert_eq!((options.relay_pages.len(), options.relays.len()), (0, 1));
    }

    #[test]
    fn bad_addresses_are_refused_in_words() {
        let cases: [(&[&str], &str); 4] = [
            (&["--relay", "relay.example"], "give the URL of its page"),
            (
                &["--relay", "http://a/", "--relay", "/ip4/127.0.0.1/tcp/1/ws"],
                "not both",
            ),
            (&["--peer", "/ip4/127.0.0.1/tcp/1/ws"], "leads to no peer"),
            (
                &["--no-relay", "--relay", "http://a/"],
                "cannot be used with",
            ),
        ];
        for (args, expected) in cases {
            let error = network(args).expect_err("refused");
            assert!(error.contains(expected), "{args:?}: {error}");
        }
        let peer = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", libp2p::PeerId::random());
        let many = ["--peer", peer.as_str()].repeat(MAX_NAMED_PEERS + 1);
        let error = network(&many).expect_err("too many");
        assert!(error.contains("8 peers can be named"), "{error}");
    }

    #[test]
    fn commands_have_flags_of_their_own() {
        for args in [
            &["export", "f.json", "--room", "a", "--data-dir", "d"][..],
            &["import", "f.json", "--seed", "7"],
            &["verify", "f.json", "--json"],
        ] {
            let cli = parse(args).expect("a command");
            assert!(cli.command.is_some(), "{args:?}");
        }
        assert!(parse(&["verify"]).is_err());
        assert!(parse(&["--quiet", "verify", "f.json"]).is_err());
    }
}
