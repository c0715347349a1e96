//! Several machines on one Redis, over a network of our own. As root these tests run, or fail; elsewhere they
//! say that they are skipped.

mod joining;
mod partition;
mod site;
