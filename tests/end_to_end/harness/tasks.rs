//! Measures the long tasks of pages' main threads, and what they spend their time on: by wall clock, and by CPU time,
//! which leaves out other load on the machine. Only measures; the tests set the limits.

use std::{collections::HashSet, fmt};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    browser::Browser,
    devtools::{DevTools, Event},
    patience::PATIENCE,
};

/// Trace categories for tasks with their times, JavaScript calls, and frames with everything that is drawn in them.
const CATEGORIES: &str = "disabled-by-default-devtools.timeline,devtools.timeline,cc";
/// The name of a page's main thread.
const PAGE_THREAD: &str = "CrRendererMain";
/// Chromium's trace name for a task.
const TASK: &str = "RunTask";
/// Chromium's trace name for producing a frame: animation callbacks, style, layout, paint, and the commit.
const FRAME: &str = "ProxyMain::BeginMainFrame";
/// Path of the wasm package. Functions that it runs on its own are the peer's work, not drawing.
const PACKAGE: &str = "/pkg/";
/// Shorter parts of a task are left out, in ms.
const SHORTEST_PART: f64 = 5.0;

/// A running trace of all pages of a browser.
#[derive(Debug)]
pub(crate) struct TaskTrace {
    devtools: DevTools,
    events: mpsc::UnboundedReceiver<Event>,
}

/// One task: a stretch of time in which the page's main thread could do nothing else.
#[derive(Debug)]
pub(crate) struct Task {
    /// Duration by wall clock.
    pub(crate) wall_ms: f64,
    /// CPU time that the task used.
    pub(crate) cpu_ms: f64,
    /// Whether the task drew, or ran a module of the page.
    pub(crate) draws: bool,
    /// The longest parts, each with its CPU time in ms.
    parts: Vec<(String, f64)>,
}

impl TaskTrace {
    pub(crate) async fn begin(browser: &Browser) -> Result<Self> {
        let (devtools, events) = browser.subscribe("Tracing");
        let params = json!({ "categories": CATEGORIES, "transferMode": "ReportEvents" });
        devtools.call(None, "Tracing.start", params).await?;
        Ok(Self { devtools, events })
    }

    /// Stops the trace. Returns all tasks, the one with the most CPU time first.
    pub(crate) async fn end(mut self) -> Result<Vec<Task>> {
        self.devtools.call(None, "Tracing.end", json!({})).await?;
        let mut traced = Vec::new();
        loop {
            let event = timeout(PATIENCE, self.events.recv())
                .await
                .context("Chromium does not finish its trace")?
                .context("the browser has exited")?;
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

/// A trace event with a duration; times in microseconds.
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
    // Sorts each task before the spans that it contains.
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
