"""A Gradio app for those who want one: it answers by the released model, without the server."""
