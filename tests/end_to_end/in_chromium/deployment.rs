//! Several relays of one deployment (`--with`): all tabs of a room meet at the same two of them, move to the third when one
//! is killed, and back when it returns. A relay whose document is of no use does no harm.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::Instant,
};

use crate::harness::{Outcome, Relay, Tab, TestEnv, agreement, run_test};

/// Tabs must be back at a relay within this time after it returned.
const BACK: Duration = Duration::from_secs(60);

#[tokio::test]
async fn room_survives_one_of_three_relays() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        for _ in 0..2 {
            env.more_relays.push(Relay::start_with(&[]).await?);
        }
        let pages: Vec<String> = relays(env).map(|relay| relay.page().to_owned()).collect();
        // One file for all, which also names the relay itself.
        let config = format!("with = {pages:?}\n");
        for relay in relays(env) {
            relay.configure(&config).await?;
        }
        let mut tabs: Vec<Tab> = Vec::new();
        for page in pages.iter().chain(&pages) {
            tabs.push(env.browser.open(page).await?);
        }
        for tab in &tabs {
            tab.until_peers(5).await?;
        }
        let ranked = ranked(&tabs[0], env).await?;
        let [best, second, third] = ranked.as_slice() else {
            unreachable!("three relays")
        };
        until_all_use(&tabs, [best, second]).await?;
        tabs[0].enter(70).await?;
        agreement(&tabs.iter().collect::<Vec<_>>(), 1).await?;

        let killed = || pages.iter().position(|page| *page == best.page);
        let killed = killed().context("a relay")?;
        relays(env).nth(killed).context("a relay")?.kill().await?;
        let since = Instant::now();
        until_all_use(&tabs, [second, third]).await?;
        println!("moved after {:.1} s", since.elapsed().as_secs_f64());
        tabs[0].enter(71).await?;
        agreement(&tabs.iter().collect::<Vec<_>>(), 2).await?;
        // A tab that comes now meets the others, too.
        tabs.push(env.browser.open(&third.page).await?);
        agreement(&tabs.iter().collect::<Vec<_>>(), 2).await?;

        relays(env)
            .nth(killed)
            .context("a relay")?
            .restart()
            .await?;
        let since = Instant::now();
        until_all_use(&tabs, [best, second]).await?;
        println!("back after {:.1} s", since.elapsed().as_secs_f64());
        ensure!(since.elapsed() < BACK, "back after {:?}", since.elapsed());
        tabs[0].enter(72).await?;
        agreement(&tabs.iter().collect::<Vec<_>>(), 3).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn useless_relays_of_a_deployment_are_skipped() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let head = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n";
        let mut pages = vec![env.relay.page().to_owned()];
        for answer in [
            // Slow, wrong and endless.
            String::new(),
            format!("{head}Content-Length: 6\r\n\r\n<html>"),
            format!("{head}\r\n{{"),
        ] {
            pages.push(useless_relay(answer).await?);
        }
        env.relay.configure(&format!("with = {pages:?}\n")).await?;
        env.expect_message("is skipped: its document is no use");
        env.expect_message("was not used: the body is longer");
        let [a, b] = env.tabs::<2>().await?;
        a.enter(70).await?;
        agreement(&[&a, &b], 1).await?;
        a.until(
            "only its own relay",
            "node => { const r = node.status().relays; return r.length === 1 && r[0].reserved; }",
        )
        .await?;
        Ok(())
    })
    .await
}

fn relays(env: &mut TestEnv) -> impl Iterator<Item = &mut Relay> {
    [&mut env.relay].into_iter().chain(&mut env.more_relays)
}

/// A relay by its page and its peer ID.
#[derive(Debug, Clone)]
struct Named {
    page: String,
    peer: String,
}

/// The relays in the order of their ranks for the tab's room, as docs/protocols.md specifies it.
async fn ranked(tab: &Tab, env: &mut TestEnv) -> Result<Vec<Named>> {
    let status = tab.status().await?;
    let room = hex::decode(status["genesis"].as_str().context("a room")?);
    let room = room.ok().context("hexadecimal digits")?;
    let mut ranked = Vec::new();
    for relay in relays(env) {
        let peer = relay.websocket()?.rsplit('/').next().context("a peer ID")?;
        ranked.push(Named {
            page: relay.page().to_owned(),
            peer: peer.to_owned(),
        });
    }
    ranked.sort_by_key(|relay| {
        let text = [b"heartchain/hrw/2", room.as_slice(), relay.page.as_bytes()].concat();
        std::cmp::Reverse(Sha256::digest(text))
    });
    Ok(ranked)
}

/// Waits until each tab has reservations at exactly these relays.
async fn until_all_use(tabs: &[Tab], relays: [&Named; 2]) -> Result<()> {
    let peers = relays.map(|relay| relay.peer.as_str());
    let condition = format!(
        "node => {{ const used = node.status().relays.filter(r => r.connected && r.reserved).map(r => r.peerId); \
         return used.length === 2 && {peers:?}.every(peer => used.includes(peer)); }}"
    );
    for tab in tabs {
        tab.until("reservations at its two relays", &condition)
            .await?;
    }
    Ok(())
}

/// A server that sends this answer to each request: an empty one never, and one that ends with `{` without an end.
async fn useless_relay(answer: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                if answer.is_empty() {
                    return std::future::pending().await;
                }
                let _ = stream.write_all(answer.as_bytes()).await;
                while answer.ends_with('{') && stream.write_all(&[b' '; 4096]).await.is_ok() {}
            });
        }
    });
    Ok(url)
}
