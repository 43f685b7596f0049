"""The terms, each in a plain form that reads like its formula and a fast one."""
