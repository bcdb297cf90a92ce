//! Tests from outside live in the folders beside this file.
