//! A private room over the months: members choose, change and erase their names, one deletes the room from its device, and
//! one moves to another browser. All of it is done through the page, as people do it.

use anyhow::{Context as _, Result, ensure};
use heartchain_chain::room_key::RoomKey;
use serde_json::json;

use super::{private_rooms::author_of, syncing::expect_bpms};
use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

const KEY: [u8; 32] = [0x5a; 32];

const PASSPHRASE: &str = "a long passphrase";

/// What each member records, and the name that it chooses.
const MEMBERS: [(u16, &str); 4] = [(71, "Anna"), (72, "Bob"), (73, "Cleo"), (74, "Dora")];

#[tokio::test]
async fn names_and_rooms_are_managed_in_the_page() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let token = RoomKey::new(KEY).to_token();
        let url = format!("{}#private={token}&label=Family", env.relay.page());
        let tabs: [Tab; 4] = env.tabs_at(&url).await?;
        let all: Vec<&Tab> = tabs.iter().collect();
        let mut recorded = 0;
        for (tab, (bpm, name)) in tabs.iter().zip(MEMBERS) {
            tab.enter(bpm).await?;
            recorded += 1;
            agreement(&all, recorded).await?;
            tab.until_shows("your-name", "What should others call you?")
                .await?;
            type_name(tab, name).await?;
        }
        for tab in &tabs {
            for (_, name) in MEMBERS {
                tab.until_shows("chain-list", name).await?;
            }
        }

        let [anna, bob, cleo, dora] = &tabs;
        press(anna, ".name-change").await?;
        type_name(anna, "Anne").await?;
        press(bob, ".name-change").await?;
        press(bob, ".name-erase").await?;
        for tab in &tabs {
            tab.until_shows("chain-list", "Anne").await?;
            tab.until_hides("chain-list", "Anna").await?;
            tab.until_hides("chain-list", "Bob").await?;
        }

        delete_room(cleo).await?;
        // What others have stays with them.
        expect_bpms(anna, &[71, 72, 73, 74]).await?;
        anna.until_shows("chain-list", "Cleo").await?;

        let author = author_of(dora).await?;
        let file = save_move_file(dora).await?;
        let page = env.relay.page().to_owned();
        let elsewhere = env.another_browser().await?.open(&page).await?;
        bring_room(&elsewhere, &file).await?;
        ensure!(author_of(&elsewhere).await? == author, "it has another key");
        press(dora, ".move-confirm").await?;
        dora.until_shows("rooms-dialog", "You have moved").await?;

        elsewhere.enter(75).await?;
        agreement(&[anna, bob, &elsewhere], 5).await?;
        anna.until_shows("chain-list", "75 BPM").await?;
        let last = anna.readings().await?.pop().context("a reading")?;
        ensure!(last["author"] == author, "another author recorded {last}");
        elsewhere.until_shows("your-name", "Dora").await?;
        Ok(())
    })
    .await
}

/// Types a name into the form that is open.
async fn type_name(tab: &Tab, name: &str) -> Result<()> {
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
