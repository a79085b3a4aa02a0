//! An empty library: the workspace-wide tests are the other files of this folder.
