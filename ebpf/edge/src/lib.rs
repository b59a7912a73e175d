//! Empty: it lets build scripts depend on this package.
#![no_std]
