//! How long the threads of pages are busy at a stretch, and with what: by the clock on the wall, and by the processor's,
//! which leaves out what else the machine does. Never judges.

use std::{collections::HashSet, fmt};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Browser, PATIENCE,
    devtools::{DevTools, Event},
};

/// Tasks with their times; calls of JavaScript; frames, with all that is drawn in them.
const CATEGORIES: &str = "disabled-by-default-devtools.timeline,devtools.timeline,cc";
/// The thread of a page.
const PAGE_THREAD: &str = "CrRendererMain";
/// What Chromium calls a task.
const TASK: &str = "RunTask";
/// What Chromium calls all that makes a frame: what was asked for before it, style, layout, paint, and handing it over.
const FRAME: &str = "ProxyMain::BeginMainFrame";
/// The package of the wasm: what it calls by itself is the peer's work, and no drawing.
const PACKAGE: &str = "/pkg/";
/// Parts of a task that are shorter are left out, ms.
const SHORTEST_PART: f64 = 5.0;

/// What the pages of a browser do, from its beginning until its end.
#[derive(Debug)]
pub(crate) struct TaskWatch {
    devtools: DevTools,
    events: mpsc::UnboundedReceiver<Event>,
}

/// A stretch in which a page's thread did nothing else.
#[derive(Debug)]
pub(crate) struct Task {
    /// By the clock on the wall.
    pub(crate) wall_ms: f64,
    /// By the processor's.
    pub(crate) cpu_ms: f64,
    /// Whether the page drew in it, or one of its modules worked.
    pub(crate) draws: bool,
    /// What took longest in it, and the processor's time for each, ms.
    parts: Vec<(String, f64)>,
}

impl TaskWatch {
    pub(crate) async fn begin(browser: &Browser) -> Result<Self> {
        let (devtools, events) = browser.tap("Tracing");
        let wish = json!({ "categories": CATEGORIES, "transferMode": "ReportEvents" });
        devtools.call(None, "Tracing.start", wish).await?;
        Ok(Self { devtools, events })
    }

    /// All tasks since, the longest by the processor first.
    pub(crate) async fn end(mut self) -> Result<Vec<Task>> {
        self.devtools.call(None, "Tracing.end", json!({})).await?;
        let mut traced = Vec::new();
        loop {
            let event = timeout(PATIENCE, self.events.recv())
                .await
                .context("Chromium does not end its trace")?
                .context("the browser went away")?;
            match (event.method.as_str(), event.params) {
                ("Tracing.dataCollected", Value::Object(mut params)) => {
                    if let Some(Value::Array(more)) = params.remove("value") {
                        traced.extend(more);
                    }
                }
                ("Tracing.tracingComplete", _) => break,
                _ => {}
            }
        }
        let mut tasks = tasks_in(&traced);
        tasks.sort_by(|a, b| b.cpu_ms.total_cmp(&a.cpu_ms));
        Ok(tasks)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} ms ({:.0} by the wall):",
            self.cpu_ms, self.wall_ms
        )?;
        for (name, ms) in &self.parts {
            write!(f, " {name} {ms:.0}")?;
        }
        Ok(())
    }
}

/// One event of a trace that has a length; times in microseconds.
struct Span<'a> {
    thread: (u64, u64),
    name: &'a str,
    url: &'a str,
    from: f64,
    to: f64,
    cpu: f64,
}

fn tasks_in(traced: &[Value]) -> Vec<Task> {
    let thread = |event: &Value| Some((event["pid"].as_u64()?, event["tid"].as_u64()?));
    let pages: HashSet<_> = traced
        .iter()
        .filter(|event| event["name"] == "thread_name" && event["args"]["name"] == PAGE_THREAD)
        .filter_map(thread)
        .collect();
    let mut spans: Vec<Span<'_>> = traced
        .iter()
        .filter_map(|event| {
            let from = event["ts"].as_f64()?;
            Some(Span {
                thread: thread(event).filter(|thread| pages.contains(thread))?,
                name: event["name"].as_str()?,
                url: event["args"]["data"]["url"].as_str().unwrap_or_default(),
                from,
                to: from + event["dur"].as_f64()?,
                cpu: event["tdur"].as_f64()?,
            })
        })
        .collect();
    // Each task before what is in it.
    spans.sort_by(|a, b| {
        a.thread
            .cmp(&b.thread)
            .then(a.from.total_cmp(&b.from))
            .then(b.to.total_cmp(&a.to))
    });
    let mut tasks: Vec<Task> = Vec::new();
    let mut end = None;
    for span in &spans {
        let inside = end.is_some_and(|(thread, to)| thread == span.thread && span.to <= to);
        if !inside {
            if span.name == TASK {
                end = Some((span.thread, span.to));
                tasks.push(Task {
                    wall_ms: (span.to - span.from) / 1_000.0,
                    cpu_ms: span.cpu / 1_000.0,
                    draws: false,
                    parts: Vec::new(),
                });
            }
            continue;
        }
        let Some(task) = tasks.last_mut() else {
            continue;
        };
        let of_page = span.name == "FunctionCall" && !span.url.contains(PACKAGE);
        task.draws |= span.name == FRAME || of_page;
        let ms = span.cpu / 1_000.0;
        if ms >= SHORTEST_PART && span.name != TASK {
            let file = span.url.rsplit('/').next().unwrap_or_default();
            let name = format!("{} {file}", span.name).trim_end().to_owned();
            task.parts.push((name, ms));
        }
    }
    tasks
}
