Feature: Errors that a task raises
  A task may end with an error of its own.

  Scenario: An error that is described in its task
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: raise-inline, version: '1.0.0'}
    do:
    - refuse:
        raise:
          error:
            status: 400
            type: https://lighthouse.example/errors/fog
            title: Too much fog
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    status: 400
    type: https://lighthouse.example/errors/fog
    title: Too much fog
    instance: /do/0/refuse
    """
