//! What a person sees and a script on the page reads, in real browsers.

mod accessibility;
mod archive;
mod crowd;
mod damage;
mod details;
mod direct;
mod durable;
mod figures;
mod guards;
mod hostile;
mod keyboard;
mod killed;
mod lessons;
mod lessons_api;
mod long_chain;
mod network;
mod offline;
mod page;
mod recovery;
mod scripts;
mod smooth;
mod strap;
mod syncing;
mod tab_to_tab;
mod twelve_tabs;
mod words;
