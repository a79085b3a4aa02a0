//! A private room of twelve tabs over the months: members choose, change and erase their names, one deletes the room from its
//! device, and one moves to another browser. All of it is done through the page, as people do it.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Error, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::future::try_join_all;
use heartchain_chain::room_key::RoomKey;
use serde_json::json;

use super::private_rooms::author_of;
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

const KEY: [u8; 32] = [0x5a; 32];

const PASSPHRASE: &str = "a long passphrase";

/// The first member records this, in BPM; each further one records one more.
const FIRST_BPM: u16 = 71;

/// The names that the members choose, in the order of their tabs.
const MEMBERS: [&str; 12] = [
    "Anna",
    "Bob",
    "Cleo",
    "Dora",
    "Emil",
    "Freya",
    "Goran",
    "Hana",
    "Ines",
    "Jakub",
    "김민준",
    "Léa",
];

/// The first of them change, erase, delete and move.
const ACTORS: usize = 4;

/// A tab dials peers until it has this many.
const MIN_PEERS: usize = 8;

#[tokio::test]
async fn names_and_rooms_are_managed_in_the_page() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let token = RoomKey::new(KEY).to_token();
        let url = format!("{}#private={token}&label=Family", env.relay.page());
        let mut tabs = Vec::new();
        for _ in MEMBERS {
            tabs.push(env.browser.open(&url).await?);
        }
        let has_peers = format!("node => node.status().peers >= {MIN_PEERS}");
        try_join_all(tabs.iter().map(|tab| tab.until("peers", &has_peers))).await?;
        let all: Vec<&Tab> = tabs.iter().collect();
        let (last, first) = tabs.split_at(ACTORS);
        let bpm_of = |at: usize| Ok::<_, Error>(FIRST_BPM + u16::try_from(at)?);
        let entered = first.iter().enumerate();
        let entering =
            entered.map(|(at, tab)| async move { tab.enter(bpm_of(ACTORS + at)?).await });
        try_join_all(entering).await?;
        agreement(&all, first.len()).await?;
        // These have the newest blocks, which a page shows without scrolling.
        for (at, tab) in last.iter().enumerate() {
            tab.enter(bpm_of(at)?).await?;
            agreement(&all, first.len() + at + 1).await?;
        }
        try_join_all(tabs.iter().zip(MEMBERS).map(|(tab, name)| async move {
            tab.until_shows("your-name", "What should others call you?")
                .await?;
            type_name(tab, name).await
        }))
        .await?;
        let names = format!(
            "node => {}.every((wanted) => node.names().some(({{ name }}) => name === wanted))",
            json!(MEMBERS)
        );
        for tab in &tabs {
            tab.until("the names of all", &names).await?;
            for name in &MEMBERS[..ACTORS] {
                tab.until_shows("chain-list", name).await?;
            }
        }
        let ([anna, bob, cleo, dora], others) = (last, first) else {
            bail!("not {ACTORS} tabs")
        };
        save_pictures(anna, "room").await?;

        press(anna, ".name-change").await?;
        type_name(anna, "Anne").await?;
        press(bob, ".name-change").await?;
        press(bob, ".name-erase").await?;
        for tab in &tabs {
            tab.until_shows("chain-list", "Anne").await?;
            tab.until_hides("chain-list", "Anna").await?;
            tab.until_hides("chain-list", "Bob").await?;
        }
        save_pictures(cleo, "erased").await?;

        delete_room(cleo).await?;
        // What others have stays with them.
        let bpms: Vec<u16> = (FIRST_BPM..).take(MEMBERS.len()).collect();
        let remaining: Vec<&Tab> = [anna, bob].into_iter().chain(others).collect();
        for tab in &remaining {
            ensure!(bpms_of(tab).await? == bpms, "{} lost a reading", tab.name());
            tab.until_shows("chain-list", "Cleo").await?;
        }

        let author = author_of(dora).await?;
        let file = save_move_file(dora).await?;
        save_pictures(dora, "move").await?;
        dora.resize(360, 640).await?;
        let fits = "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.querySelector('rooms-dialog dialog'))";
        ensure!(dora.evaluate(fits).await? == true, "the dialog is wider than a phone");
        dora.call("Emulation.clearDeviceMetricsOverride", json!({})).await?;
        let page = env.relay.page().to_owned();
        let elsewhere = env.another_browser().await?.open(&page).await?;
        bring_room(&elsewhere, &file).await?;
        ensure!(author_of(&elsewhere).await? == author, "it has another key");
        press(dora, ".move-confirm").await?;
        dora.until_shows("rooms-dialog", "You have moved").await?;
        dora.until_status_says("Not running").await?;
        dora.until_hides("rooms-dialog", "Move …").await?;
        save_pictures(dora, "moved").await?;

        elsewhere.enter(95).await?;
        let remaining: Vec<&Tab> = remaining.into_iter().chain([&elsewhere]).collect();
        agreement(&remaining, MEMBERS.len() + 1).await?;
        for tab in &remaining {
            let last = tab.readings().await?.pop().context("a reading")?;
            ensure!(last["author"] == author, "another author recorded {last}");
            tab.until_shows("chain-list", "95 BPM").await?;
            tab.until_shows("chain-list", "Dora").await?;
        }
        elsewhere.until_shows("your-name", "Dora").await?;
        save_pictures(&elsewhere, "elsewhere").await
    })
    .await
}

/// The heart rates of the chain, in ascending order.
async fn bpms_of(tab: &Tab) -> Result<Vec<u16>> {
    let readings = tab.readings().await?;
    let bpms = readings.iter().map(|reading| reading["bpm"].as_u64());
    let bpms = bpms.map(|bpm| Ok(u16::try_from(bpm.context("a heart rate")?)?));
    let mut bpms = bpms.collect::<Result<Vec<_>>>()?;
    bpms.sort_unstable();
    Ok(bpms)
}

/// Saves what a tab shows, on a desktop and a phone, light and dark, in the folder that `HEARTCHAIN_PICTURES` names. Without it,
/// nothing is saved.
async fn save_pictures(tab: &Tab, name: &str) -> Result<()> {
    let Some(folder) = env::var_os("HEARTCHAIN_PICTURES") else {
        return Ok(());
    };
    for (screen, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
        tab.resize(width, height).await?;
        for theme in ["light", "dark"] {
            let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
            tab.call("Emulation.setEmulatedMedia", media).await?;
            tab.evaluate(
                "new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 300)))",
            )
            .await?;
            let shot = tab.call("Page.captureScreenshot", json!({})).await?;
            let image = BASE64.decode(shot["data"].as_str().context("an image")?)?;
            let file = Path::new(&folder).join(format!("{name}-{screen}-{theme}.png"));
            fs::write(file, image)?;
        }
    }
    tab.call("Emulation.clearDeviceMetricsOverride", json!({}))
        .await?;
    tab.call("Emulation.setEmulatedMedia", json!({ "features": [] }))
        .await?;
    Ok(())
}

/// Types a name into the form that is open.
pub(super) async fn type_name(tab: &Tab, name: &str) -> Result<()> {
    tab.focus("textbox", "What should others call you?").await?;
    tab.empty_field().await?;
    tab.type_and_enter(name).await?;
    tab.until_shows("your-name", "Others see you as").await?;
    Ok(())
}

/// Deletes the room in this tab from its device; the tab then opens the lobby, and lists the room no longer.
async fn delete_room(tab: &Tab) -> Result<()> {
    open_rooms(tab).await?;
    press(tab, "[aria-label='Delete Family']").await?;
    tab.until_shows("rooms-dialog", "Delete Family from this device?")
        .await?;
    press(tab, ".room-task .danger").await?;
    tab.until("the lobby", "node => node.status().room === 'lobby'")
        .await?;
    open_rooms(tab).await?;
    tab.until_shows("rooms-dialog", "lobby").await?;
    tab.until_hides("rooms-dialog", "Family").await?;
    Ok(())
}

/// Saves this tab's author in a move file. Returns the file, in base64.
async fn save_move_file(tab: &Tab) -> Result<String> {
    // The test takes the file from the page, and nothing is downloaded.
    tab.call("Page.setDownloadBehavior", json!({ "behavior": "deny" }))
        .await?;
    tab.evaluate(
        "(() => {
            const make = URL.createObjectURL;
            URL.createObjectURL = (blob) => make.call(URL, (heartchainTest.file = blob));
        })()",
    )
    .await?;
    open_rooms(tab).await?;
    press(tab, "[aria-label='Move to another device']").await?;
    for field in ["#move-passphrase", "#move-repeat"] {
        fill(tab, field, PASSPHRASE).await?;
    }
    press(tab, ".room-task [type=submit]").await?;
    tab.until_shows("rooms-dialog", "The browser saves the file")
        .await?;
    let file = tab
        .evaluate(
            "heartchainTest.file.arrayBuffer().then((bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))))",
        )
        .await?;
    Ok(file.as_str().context("base64 is text")?.to_owned())
}

/// Brings a room here from a move file, after a typo in the passphrase, and opens it.
async fn bring_room(tab: &Tab, file: &str) -> Result<()> {
    tab.until("the node", "() => true").await?;
    open_rooms(tab).await?;
    let choose = format!(
        "(() => {{
            const bytes = Uint8Array.from(atob({}), (character) => character.charCodeAt(0));
            const chosen = new DataTransfer();
            chosen.items.add(new File([bytes], 'family.move'));
            document.querySelector('#move-file').files = chosen.files;
        }})()",
        json!(file)
    );
    tab.evaluate(&choose).await?;
    fill(tab, "#import-passphrase", "another passphrase").await?;
    press(tab, ".import-form [type=submit]").await?;
    tab.until_shows("rooms-dialog", "The passphrase doesn't fit this file")
        .await?;
    tab.until_page(
        "the end of the failed import",
        "() => document.querySelector('rooms-dialog dialog').ariaBusy === 'false'",
    )
    .await?;
    fill(tab, "#import-passphrase", PASSPHRASE).await?;
    press(tab, ".import-form [type=submit]").await?;
    tab.until_shows("rooms-dialog", "The room is on this device now")
        .await?;
    press(tab, ".import-open").await?;
    tab.until("the private room", "node => node.status().private")
        .await?;
    Ok(())
}

/// Opens "Rooms on this device".
async fn open_rooms(tab: &Tab) -> Result<()> {
    press(tab, ".room-open").await?;
    press(tab, ".rooms-stored").await?;
    tab.until_page(
        "the rooms on this device",
        "() => document.querySelector('rooms-dialog .stored-room')",
    )
    .await?;
    Ok(())
}

/// Clicks the element that matches this selector.
pub(super) async fn press(tab: &Tab, selector: &str) -> Result<()> {
    tab.evaluate(&format!(
        "document.querySelector({}).click()",
        json!(selector)
    ))
    .await?;
    Ok(())
}

async fn fill(tab: &Tab, selector: &str, text: &str) -> Result<()> {
    tab.evaluate(&format!(
        "document.querySelector({}).value = {}",
        json!(selector),
        json!(text)
    ))
    .await?;
    Ok(())
}
