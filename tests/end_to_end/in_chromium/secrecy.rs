//! What others learn of a private room. Who has only what the relay knows, the room's ID and its peers, gets the whole chain and
//! can verify it. Such a client reads neither heart rates nor names, does not learn which peer is which author, and no message
//! contains the room's key.
//!
//! Three places show what leaves a tab. DevTools shows requests and WebSockets; what a WebSocket carries is encrypted with
//! Noise, so there only addresses and headers are readable. Direct connections between tabs have no encryption of their own
//! above the browser's, so a hook in `RTCDataChannel` sees all their messages in the clear. A native peer without the key
//! shows what a tab tells anyone in the room, and what the relay tells of a tab.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use heartchain_chain::{
    block::check_root, content::UnreadableError, hash::BlockHash, header::Header, key::Author,
    room::Room, room_key::RoomKey,
};
use heartchain_sync::message::{Request, Response};
use serde_json::json;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use super::{
    hostile::{connect, honest_responder, status},
    names::type_name,
    private_rooms::{KEY, author_of, link},
    syncing::expect_bpms,
};
use crate::{
    harness::{Event, Outcome, PATIENCE, Tab, TestEnv, agreement, run_test},
    native::{Received, ScriptedPeer, frame},
};

/// Keeps what the page sends over data channels, each channel apart.
const KEEP_SENT: &str = r"
    const channels = new Map();
    const { send } = RTCDataChannel.prototype;
    RTCDataChannel.prototype.send = function (data) {
        const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        if (!channels.has(this)) channels.set(this, []);
        channels.get(this).push(bytes.slice());
        return send.call(this, data);
    };
    globalThis.sentOnChannels = async () => {
        const sent = [];
        for (const parts of channels.values()) {
            const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
            sent.push(Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(''));
        }
        return sent;
    };
";

/// The pause between two searches of what a tab has sent.
const SEARCH_PAUSE: Duration = Duration::from_millis(200);

/// The names of the two members.
const NAMES: [&str; 2] = ["Anna Secret", "Bob Secret"];

#[tokio::test]
async fn private_room_is_read_only_with_its_link() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let (_, mut events) = env.browser.subscribe("Network");
        let page = env.relay.page().to_owned();
        let open = two_tabs(env, &page).await?;
        let [speaker, _] = &open;
        let author = forms_of_author(author_of(speaker).await?.parse()?);
        speaker.enter(72).await?;
        // In an open room the author is in the clear, so the search can find something. What began on the circuit before
        // the direct connection stays there, so this may be a later message.
        let searching = async {
            while find_in(&sent_on_channels(speaker).await?, &author).is_none() {
                sleep(SEARCH_PAUSE).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(PATIENCE, searching)
            .await
            .context("no author in an open room")??;
        for tab in open {
            tab.close().await?;
        }
        while events.try_recv().is_ok() {}

        let tabs = two_tabs(env, &link(&page, "Family")).await?;
        let [a, b] = &tabs;
        let mut authors: Vec<Author> = Vec::new();
        for tab in &tabs {
            authors.push(author_of(tab).await?.parse()?);
        }
        // Nothing was recorded yet, so no message has a reason to contain an author.
        let secrets: Vec<_> = authors.iter().copied().flat_map(forms_of_author).collect();
        for tab in &tabs {
            let sent = sent_on_channels(tab).await?;
            let protocol = ("protocol".to_owned(), b"/heartchain/2/".to_vec());
            ensure!(
                find_in(&sent, &[protocol]).is_some(),
                "no message is in the clear"
            );
            expect_nothing(&sent, &[&secrets[..], &forms_of_key()].concat())
                .with_context(|| format!("sent by {}", tab.name()))?;
        }

        a.until_shows("room-bar", "Family").await?;
        let mut recorded = 0;
        for (tab, (bpm, name)) in tabs.iter().zip([72, 173].into_iter().zip(NAMES)) {
            tab.enter(bpm).await?;
            recorded += 1;
            agreement(&[a, b], recorded).await?;
            type_name(tab, name).await?;
        }
        for tab in &tabs {
            expect_bpms(tab, &[72, 173]).await?;
            for shown in NAMES.into_iter().chain(["173 BPM"]) {
                tab.until_shows("chain-list", shown).await?;
            }
        }

        let member = Room::private(RoomKey::new(KEY));
        let outside = Room::new(member.params().clone());
        ensure!(a.status().await?["genesis"] == outside.id().to_string());
        let mut peer = connect(env, a, honest_responder(&outside)).await?;
        ask(&mut peer, &status(&outside)).await?;
        ensure!(
            bpms(&mut peer, &outside, &member).await? == [72, 173],
            "other readings"
        );
        let names = names(&mut peer, &outside, &member).await?;
        ensure!(
            names == BTreeSet::from(NAMES.map(str::to_owned)),
            "with the key it reads {names:?}"
        );
        let gossip = |all: &[Received]| all.iter().any(|one| matches!(one, Received::Gossip(_)));
        a.enter(99).await?;
        peer.until_received("gossip of a reading or a block", gossip)
            .await?;
        expect_no_secrets_in(peer.received(), &outside, &secrets)?;

        for tab in &tabs {
            expect_nothing(
                &sent_on_channels(tab).await?,
                &[forms_of_key(), names_in_the_clear()].concat(),
            )?;
        }
        let told = requests(&mut events);
        ensure!(
            told.len() > 10,
            "DevTools shows only {} requests",
            told.len()
        );
        expect_nothing(
            &told,
            &[secrets, forms_of_key(), names_in_the_clear()].concat(),
        )
        .context("told the relay")
    })
    .await
}

/// Opens two tabs that keep what they send, and waits until each has proved to the other which author it is.
async fn two_tabs(env: &mut TestEnv, url: &str) -> Result<[Tab; 2]> {
    let mut tabs = Vec::new();
    for _ in 0..2 {
        let tab = env.browser.open_with("about:blank", KEEP_SENT).await?;
        tab.call("Network.enable", json!({})).await?;
        tab.go(url).await?;
        tabs.push(tab);
    }
    let [a, b]: [Tab; 2] = tabs.try_into().ok().context("two tabs")?;
    for (tab, other) in [(&a, &b), (&b, &a)] {
        other.peer_id().await?;
        let other = json!(author_of(other).await?);
        let has_told =
            format!("node => node.peers().some(p => p.path === 'direct' && p.author === {other})");
        tab.until("the other's author, by a direct connection", &has_told)
            .await?;
    }
    Ok([a, b])
}

/// What a tab has sent over data channels so far.
async fn sent_on_channels(tab: &Tab) -> Result<Vec<Vec<u8>>> {
    let sent = tab.evaluate("sentOnChannels()").await?;
    let sent = sent.as_array().context("a list")?.iter();
    sent.map(|one| Ok(hex::decode(one.as_str().context("hex")?)?))
        .collect()
}

/// What DevTools has seen leave the tabs: addresses, headers and bodies of requests, and what WebSockets carry.
fn requests(events: &mut UnboundedReceiver<Event>) -> Vec<Vec<u8>> {
    let mut told = Vec::new();
    while let Ok(Event { method, params, .. }) = events.try_recv() {
        match method.as_str() {
            "Network.requestWillBeSent" => {
                let request = &params["request"];
                // The part behind "#" stays in the browser.
                let sent = [&request["url"], &request["headers"], &request["postData"]];
                told.push(json!(sent).to_string().into_bytes());
            }
            "Network.requestWillBeSentExtraInfo" => {
                told.push(params["headers"].to_string().into_bytes());
            }
            "Network.webSocketWillSendHandshakeRequest" => {
                told.push(params["request"].to_string().into_bytes());
            }
            "Network.webSocketCreated" => told.push(params["url"].to_string().into_bytes()),
            "Network.webSocketFrameSent" => {
                let payload = params["response"]["payloadData"]
                    .as_str()
                    .unwrap_or_default();
                told.push(STANDARD.decode(payload).unwrap_or_else(|_| payload.into()));
            }
            _ => {}
        }
    }
    told
}

/// A secret, and the bytes that would give it away.
type Secret = (String, Vec<u8>);

fn forms(name: &str, bytes: &[u8; 32]) -> Vec<Secret> {
    // The last characters of base64 depend on what follows.
    let base64 = STANDARD.encode(bytes)[..40].to_owned();
    let url = URL_SAFE_NO_PAD.encode(bytes)[..40].to_owned();
    let texts = [hex::encode(bytes), hex::encode_upper(bytes), base64, url];
    let forms = texts.map(String::into_bytes).into_iter();
    let forms = forms.chain([bytes.to_vec()]);
    forms.map(|form| (name.to_owned(), form)).collect()
}

fn forms_of_author(author: Author) -> Vec<Secret> {
    forms(&format!("author {author}"), author.as_bytes())
}

fn forms_of_key() -> Vec<Secret> {
    forms("the room's key", &KEY)
}

fn names_in_the_clear() -> Vec<Secret> {
    let names = NAMES.into_iter();
    names.map(|name| (name.to_owned(), name.into())).collect()
}

/// The first secret that one of the messages contains.
fn find_in<'a>(messages: &[Vec<u8>], secrets: &'a [Secret]) -> Option<&'a str> {
    let is_in = |form: &[u8]| {
        let mut parts = messages
            .iter()
            .flat_map(|message| message.windows(form.len()));
        parts.any(|part| part == form)
    };
    let found = secrets.iter().find(|(_, form)| is_in(form));
    found.map(|(name, _)| name.as_str())
}

fn expect_nothing(messages: &[Vec<u8>], secrets: &[Secret]) -> Result<()> {
    match find_in(messages, secrets) {
        Some(name) => bail!("a message contains {name}"),
        None => Ok(()),
    }
}

/// Nothing that a peer without the key has received contains the key or a name, and what says something about a peer contains no
/// author. Readings and names have an author, whichever peer sends them.
fn expect_no_secrets_in(received: &[Received], room: &Room, authors: &[Secret]) -> Result<()> {
    let mut kinds = BTreeSet::new();
    for one in received {
        let (kind, bytes, is_about_the_peer) = match one {
            Received::Request(bytes) => ("request", bytes, true),
            Received::Answer(bytes) => {
                let answer = Response::decode(room.form(), bytes)?;
                (
                    "answer",
                    bytes,
                    matches!(answer, Response::Status(_) | Response::Headers(_)),
                )
            }
            Received::Gossip(bytes) => ("gossip", bytes, false),
            Received::Identity(bytes) => ("identity", bytes, true),
            Received::Registration(bytes) => ("registration", bytes, true),
        };
        kinds.insert(kind);
        let bytes = std::slice::from_ref(bytes);
        expect_nothing(bytes, &[forms_of_key(), names_in_the_clear()].concat()).context(kind)?;
        if is_about_the_peer {
            expect_nothing(bytes, authors).context(kind)?;
        }
    }
    ensure!(kinds.len() == 5, "only {kinds:?} were received");
    Ok(())
}

async fn ask(peer: &mut ScriptedPeer, request: &Request) -> Result<Vec<u8>> {
    peer.send_request(frame(&request.encode()));
    peer.next_response().await
}

/// The heart rates of the chain, which only a member can read.
async fn bpms(peer: &mut ScriptedPeer, outside: &Room, member: &Room) -> Result<Vec<u16>> {
    let mut read = Vec::new();
    for header in &headers(peer, outside).await? {
        let hashes = vec![header.hash()];
        let answer = ask(peer, &Request::Bodies { hashes }).await?;
        let Response::Bodies(bodies) = Response::decode(outside.form(), &answer)? else {
            bail!("no bodies");
        };
        let body = bodies.into_iter().flatten().next().context("a body")?;
        check_root(header, &body)?;
        for reading in body {
            reading.verify(outside.id())?;
            ensure!(outside.open(&reading) == Err(UnreadableError::NoKey));
            read.push(member.open(&reading)?.bpm.get());
        }
    }
    Ok(read)
}

/// The names of the authors, which only a member can read.
async fn names(peer: &mut ScriptedPeer, outside: &Room, member: &Room) -> Result<BTreeSet<String>> {
    let answer = ask(peer, &Request::Profiles { after: None }).await?;
    let Response::Profiles(profiles) = Response::decode(outside.form(), &answer)? else {
        bail!("no names");
    };
    let mut names = BTreeSet::new();
    for profile in profiles {
        profile.verify(outside.id())?;
        ensure!(
            outside.open_profile(&profile).is_none(),
            "it opens without the key"
        );
        let name = member
            .open_profile(&profile)
            .context("it opens with the key")?;
        names.insert(name.as_str().to_owned());
    }
    Ok(names)
}

async fn headers(peer: &mut ScriptedPeer, room: &Room) -> Result<Vec<Header>> {
    let locator: Vec<BlockHash> = vec![room.genesis_hash()];
    let answer = ask(peer, &Request::Headers { locator }).await?;
    let response = Response::decode(room.form(), &answer)?;
    let Response::Headers(headers) = response else {
        bail!("no headers: {response:?}");
    };
    Ok(headers)
}
