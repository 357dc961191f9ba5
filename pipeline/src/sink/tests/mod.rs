mod commits;
mod encoding;
mod memory;
mod moves;
mod rows;
