"""The recurrent models of the package memax as cores of rlformers."""
