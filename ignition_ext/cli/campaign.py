"""``ignition campaign``: apply files, run campaigns, watch and steer their runs.

Each command's module is imported when it is called: those that reach Prefect take two seconds.
"""

from __future__ import annotations

from cyclopts import App

app = App(name="campaign", help="Campaigns: apply files, run, watch, pause, resume, cancel.")

app.command("ignition_ext.cli.campaign_apply:apply", name="apply")
app.command("ignition_ext.cli.campaign_list:list_campaigns", name="list")
app.command("ignition_ext.cli.campaign_list:show", name="show")
app.command("ignition_ext.cli.campaign_apply:delete", name="delete")
app.command("ignition_ext.cli.campaign_graph:graph", name="graph")
app.command("ignition_ext.cli.campaign_upcoming:upcoming", name="upcoming")
app.command("ignition_ext.cli.campaign_check:check", name="check")
app.command("ignition_ext.cli.campaign_run:run", name="run")
app.command("ignition_ext.cli.campaign_run:status", name="status")
app.command("ignition_ext.cli.campaign_control:pause", name="pause")
app.command("ignition_ext.cli.campaign_control:resume", name="resume")
app.command("ignition_ext.cli.campaign_control:cancel", name="cancel")
app.command("ignition_ext.cli.campaign_approve:approve", name="approve")
app.command("ignition_ext.cli.campaign_control:move", name="move")
app.command("ignition_ext.cli.campaign_edit:priority", name="priority")
app.command("ignition_ext.cli.campaign_edit:history", name="history")
