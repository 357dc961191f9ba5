mod commits;
mod encoding;
mod memory;
mod moves;
mod restatements;
mod rows;
