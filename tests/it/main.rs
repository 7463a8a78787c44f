mod support;
mod wire;
